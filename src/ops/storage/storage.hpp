// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What numbers in memory are computed in, and how the CPU's loops load and store them. No LibTorch.

#include <bit>
#include <cstdint>
#include <type_traits>

#include "bunchtrain/core/detail/always_inline.hpp"
#include "bunchtrain/core/detail/storage_types.hpp"

namespace bunchtrain::ops::detail {

/// What a storage type is computed in.
template <class S>
using Real = std::conditional_t<std::is_same_v<S, double>, double, float>;

BUNCHTRAIN_INLINE float load(const float& x) { return x; }
BUNCHTRAIN_INLINE double load(const double& x) { return x; }
BUNCHTRAIN_INLINE float load(const Bf16& x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}

BUNCHTRAIN_INLINE void store(float& y, float x) { y = x; }
BUNCHTRAIN_INLINE void store(double& y, double x) { y = x; }
/// Round to nearest even; NaN keeps its sign and becomes quiet.
BUNCHTRAIN_INLINE void store(Bf16& y, float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  y.bits = static_cast<std::uint16_t>(x == x ? rounded : ((bits >> 16) | 0x40U));
}

}  // namespace bunchtrain::ops::detail
