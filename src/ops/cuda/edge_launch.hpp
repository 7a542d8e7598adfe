// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernels over edges behind raw pointers: usable without LibTorch, compiled for the host by the tests.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../edge_simd.hpp"

namespace bunchtrain::ops::detail {

/// `out[b, i, n] = u[b, i] + v[b, indices[b, i, n]]` for `sets` sets; `u` may be nullptr. Asynchronous on
/// `stream`. T is float, double or Bfloat16Bits. @pre indices are within the set
template <class T>
void launch_spread(const EdgeShape& shape, std::int64_t sets, const T* u, const T* v,
                   const std::int32_t* indices, T* out, cudaStream_t stream);

/// Lists the edges that lead to each point: those to point j of a set are `edges[offsets[j]]` up to
/// `edges[offsets[j + 1]]`, in ascending order. `offsets` [sets, P + 1], `edges` [sets, P * K], both relative
/// to the set.
void launch_reverse_index(const EdgeShape& shape, std::int64_t sets, const std::int32_t* indices,
                          std::int32_t* offsets, std::int32_t* edges, cudaStream_t stream);

/// The adjoint of spread with the lists of `launch_reverse_index`: no atomics, sums in ascending edge order.
/// `u` may be nullptr.
template <class T>
void launch_collect(const EdgeShape& shape, std::int64_t sets, const T* edge_values,
                    const std::int32_t* offsets, const std::int32_t* edges, T* u, T* v, cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
