// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The first layer of an EdgeConv after its algebraic split: a sum of a node's own term and its neighbour's.

#include <ATen/core/Tensor.h>

namespace bunchtrain::ops {

/// `out[b, i, n, :] = u[b, i, :] + v[b, indices[b, i, n], :]` in one pass.
///
/// A linear layer on [x_i ; x_j - x_i] is (W_a - W_b) x_i + W_b x_j = u_i + v_j: two GEMMs over points
/// instead of one over edges, K times fewer multiplications.
///
/// @param u, v     [B, P, C] of one dtype: float32, float64, bfloat16 or float16
///                 (B sets, P points, C channels).
/// @param indices  [B, P, K] int32, each in [0, P). Checked on CPU when called; on a
///                 GPU by the kernel, see index_faults.hpp.
/// @return [B, P, K, C], dtype of `u`.
///
/// Differentiable in u and v to any order: grad_u sums over the neighbours, grad_v over the incoming edges in
/// ascending edge order, both in float32 for the types of 16 bits; the same bits in every run and for any
/// number of threads. Autocast rule: the wider of the two dtypes, as for an addition.
/// @throws ConfigError if shapes, devices or dtypes do not fit or, on CPU, an index is out of range.
at::Tensor edge_sum(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices);

}  // namespace bunchtrain::ops
