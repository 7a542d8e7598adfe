// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What loops over channels on the CPU scale and shift by.

namespace bunchtrain::ops::detail {

/// y = x * scale + shift per channel.
template <class R>
struct Affine {
  const R* scale;
  const R* shift;
};

/// What follows on it: max(0, y), or y / (1 + exp(-y)).
enum class Activation : int { none, relu, silu };
inline constexpr int kActivations = 3;
constexpr int place_of(Activation activation) { return static_cast<int>(activation); }

}  // namespace bunchtrain::ops::detail
