// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernels over edges behind raw pointers: usable without LibTorch, compiled for the host by the tests.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "edge_conv/cpu/edge_simd.hpp"
#include "reverse_index_plan.hpp"

namespace bunchtrain::ops::detail {

/// `out[b, i, n] = u[b, i] + v[b, indices[b, i, n]]` for `sets` sets; `u` may be nullptr. Asynchronous on
/// `stream`. T is float, double, Bf16 or Fp16.
/// An index outside the set counts as the nearest one inside and raises `*fault`.
template <class T>
void launch_spread(const EdgeShape& shape, std::int64_t sets, const T* u, const T* v,
                   const std::int32_t* indices, T* out, std::int32_t* fault, cudaStream_t stream);

/// Lists the edges that lead to each point: those to point j of a set are `edges[offsets[j]]` up to
/// `edges[offsets[j + 1]]`, in ascending order. `offsets` [sets, P + 1], `edges` [sets, P * K], both relative
/// to the set. Every edge is listed once, one with an index outside the set as in `launch_spread`.
/// @param plan of this shape and number of sets
/// @param scratch `plan.scratch_bytes()`, 16-byte aligned
void launch_reverse_index(const ReverseIndexPlan& plan, const EdgeShape& shape, std::int64_t sets,
                          const std::int32_t* indices, std::int32_t* offsets, std::int32_t* edges,
                          void* scratch, std::int32_t* fault, cudaStream_t stream);

/// The adjoint of spread with the lists of `launch_reverse_index`: no atomics, sums in ascending edge order,
/// in float for Bf16 and Fp16.
/// `u` may be nullptr.
template <class T>
void launch_collect(const EdgeShape& shape, std::int64_t sets, const T* edge_values,
                    const std::int32_t* offsets, const std::int32_t* edges, T* u, T* v, cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
