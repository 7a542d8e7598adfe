// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The squared distance as every processor evaluates it.

#include <cmath>
#include <cstdint>

namespace bunchtrain::ops::detail {

/// Sum over ascending coordinates of fused squares: one rounding per coordinate.
template <class Real>
Real squared_distance(const Real* a, const Real* b, std::int64_t dims) {
  Real sum = 0;
  for (std::int64_t d = 0; d < dims; ++d) {
    const Real difference = a[d] - b[d];
    sum = std::fma(difference, difference, sum);
  }
  return sum;
}

}  // namespace bunchtrain::ops::detail
