// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The two passes over edges that gather_neighbours and edge_ops are made of, below autograd.
///
/// Tensors are contiguous and fit together. [B, P, K] int32 `indices` name each edge's neighbour.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

#include "edge_conv/cpu/edge_simd.hpp"
#include "index_fault_kinds.hpp"

namespace bunchtrain::ops::detail {

/// @throws ConfigError if the edges of `sets` such sets are too many for collect_from_edges_cuda
void require_countable(const EdgeShape& shape, std::int64_t sets);

/// Zeroed when it returns, for kernels of all streams.
at::Tensor create_index_faults_cuda(c10::Device device);

/// `out[b, i, n] = u[b, i] + v[b, indices[b, i, n]]`; an undefined `u` counts as zero.
void spread_to_edges_cpu(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices,
                         const at::Tensor& out);
void spread_to_edges_cuda(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices,
                          const at::Tensor& out);

/// The adjoint: `u[b, i]` = sum of the edges that leave i (not computed if undefined), `v[b, j]` = sum of the
/// edges that lead to j, in ascending edge order. Both are overwritten.
void collect_from_edges_cpu(const at::Tensor& edges, const at::Tensor& indices, const at::Tensor& u,
                            const at::Tensor& v);
void collect_from_edges_cuda(const at::Tensor& edges, const at::Tensor& indices, const at::Tensor& u,
                             const at::Tensor& v);

}  // namespace bunchtrain::ops::detail
