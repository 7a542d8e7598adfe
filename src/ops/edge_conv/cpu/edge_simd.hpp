// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The vectorised loops over edges on the CPU. No ATen: tensors and threads are in edges_cpu.cpp.

#include <cstdint>

#include "bunchtrain/core/detail/storage_types.hpp"

namespace bunchtrain::ops::detail {

/// The sizes of one set and its edges.
struct EdgeShape {
  std::int64_t points;      ///< P
  std::int64_t neighbours;  ///< K
  std::int64_t channels;    ///< C
};

/// `out[i, n] = u[i] + v[indices[i, n]]` for the points [begin, end) of one set; `u` may be nullptr (zero).
template <class T>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const T* u, const T* v,
                   const std::int32_t* indices, T* out);

/// Of an evaluated layer: `out[i - begin, n] = max(0, u[i] + v[indices[i, n]])`, u and v being the halves of the rows of
/// `terms` [P, 2 C]. NaN becomes 0.
void activate_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const float* terms,
                     const std::int32_t* indices, float* out);

/// The adjoint for one set, in ascending edge order. Sums are in `Sum`: double for double, else float.
/// `u_sum` [P, C] may be nullptr.
template <class T, class Sum>
void collect_set(const EdgeShape& shape, const T* edges, const std::int32_t* indices, Sum* u_sum, Sum* v_sum);

/// Rounds to nearest, ties to even. T is Bf16 or Fp16.
template <class T>
void round_sums(const float* from, std::int64_t count, T* to);

}  // namespace bunchtrain::ops::detail
