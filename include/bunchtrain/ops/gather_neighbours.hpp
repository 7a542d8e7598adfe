// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Features of each point's neighbours, and the reverse: what edges bring, summed into
/// the points they lead to.

#include <ATen/core/Tensor.h>

namespace bunchtrain::ops {

/// `out[b, i, n, :] = features[b, indices[b, i, n], :]`.
///
/// @param features [B, P, C] float32, float64, bfloat16 or float16 (B sets, P points, C channels).
/// @param indices  [B, P, K] int32, each in [0, P): what `knn` returns. Checked on CPU when called; on
///                 a GPU by the kernel, see index_faults.hpp.
/// @return [B, P, K, C], dtype of `features`.
///
/// Differentiable in `features` to any order. The gradient sums each point's incoming edges in ascending edge
/// order (i, then n), accumulated in float32 for the types of 16 bits: the same bits in every run and for
/// any number of threads. Autocast rule: none, the dtype of `features` is kept (a cast would gain nothing).
/// @throws ConfigError if shapes or dtypes do not fit or, on CPU, an index is out of range.
at::Tensor gather_neighbours(const at::Tensor& features, const at::Tensor& indices);

/// The adjoint of `gather_neighbours`: `out[b, j, :] = sum over (i, n) with indices[b, i, n] == j of edges[b,
/// i, n, :]`.
///
/// @param edges [B, P, K, C]; points that no edge leads to get zero. Same guarantees as above.
/// @return [B, P, C].
at::Tensor scatter_neighbours(const at::Tensor& edges, const at::Tensor& indices);

}  // namespace bunchtrain::ops
