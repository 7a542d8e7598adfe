// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Activations and their slopes without a branch or a call, for the compiler's vectoriser.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "affine.hpp"
#include "bunchtrain/core/detail/always_inline.hpp"

namespace bunchtrain::ops::detail {

/// Added to a number, it leaves the nearest integer in the lowest bits of the sum.
inline constexpr float kRounding = 12582912.0F;
inline constexpr double kWideRounding = 6755399441055744.0;

/// x within [low, high], low < 0 < high, by the bits: as integers positive floats rise, and negative ones rise downwards. GCC
/// makes a choice between floats a branch and computes with the bounds too what follows, which is denormal, and slow.
template <class R>
BUNCHTRAIN_INLINE R within(R x, R low, R high) {
  using Unsigned = std::conditional_t<sizeof(R) == 4, std::uint32_t, std::uint64_t>;
  using Signed = std::make_signed_t<Unsigned>;
  const Unsigned above = std::min(std::bit_cast<Unsigned>(x), std::bit_cast<Unsigned>(low));
  return std::bit_cast<R>(std::min(static_cast<Signed>(above), std::bit_cast<Signed>(high)));
}

/// e^x = 2^n e^r with |r| <= ln 2 / 2, within 2 ulp; x is kept within what a float holds.
BUNCHTRAIN_INLINE float exp_of(float x) {
  x = within(x, -87.0F, 88.0F);
  const float shifted = x * 1.44269504F + kRounding, n = shifted - kRounding;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;  // Cephes' expf
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const std::uint32_t power =
      std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRounding) + 127U;
  return (p * r * r + r + 1.0F) * std::bit_cast<float>(power << 23U);
}

BUNCHTRAIN_INLINE double exp_of(double x) {
  x = within(x, -708.0, 709.0);
  const double shifted = x * 1.4426950408889634 + kWideRounding, n = shifted - kWideRounding;
  const double r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
  double p = 1.0 / 6227020800.0;  // 1 / 13!
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  const std::uint64_t power =
      std::bit_cast<std::uint64_t>(shifted) - std::bit_cast<std::uint64_t>(kWideRounding) + 1023U;
  return (p * r * r + r + 1.0) * std::bit_cast<double>(power << 52U);
}

template <Activation kActivation, class R>
BUNCHTRAIN_INLINE R activated(R value) {
  if constexpr (kActivation == Activation::relu) return value > 0 ? value : R(0);
  if constexpr (kActivation == Activation::silu) return value / (1 + exp_of(-value));
  return value;
}

/// @param value what the activation has had
template <Activation kActivation, class R>
BUNCHTRAIN_INLINE R gradient_through(R gradient, R value) {
  if constexpr (kActivation == Activation::relu) return value > 0 ? gradient : R(0);
  if constexpr (kActivation == Activation::silu) {
    const R sigmoid = 1 / (1 + exp_of(-value));
    return gradient * sigmoid * (1 + value * (1 - sigmoid));
  }
  return gradient;
}

}  // namespace bunchtrain::ops::detail
