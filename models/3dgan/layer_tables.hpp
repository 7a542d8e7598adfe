// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The published layers of both 3DGANs as tables: networks are built, and Keras files
/// read, from the same lines.

#include <array>
#include <cstdint>
#include <span>

#include "bunchtrain/models/3dgan/variant.hpp"
#include "bunchtrain/ops/extent3.hpp"

namespace bunchtrain::models::detail {

/// Where batch norm stands behind a convolution and its activation.
enum class Norm { none, present };

/// Upsampling, zero padding, convolution, activation, batch norm.
struct ShowerLayer {
  std::int64_t channels;  ///< of the output
  ops::Extent3 kernel;
  ops::Padding3 padding = {};
  ops::Extent3 upsampling = {1, 1, 1};
  Norm norm = Norm::present;
  bool bias = true;
};

struct GeneratorTable {
  std::array<std::int64_t, 4> folded;  ///< x, y, z, channels that the dense output is folded to
  double slope;                        ///< of the hidden activations below zero: leaky ReLU, or 0 for ReLU
  std::span<const ShowerLayer> layers;

  std::int64_t dense_outputs() const noexcept { return folded[0] * folded[1] * folded[2] * folded[3]; }
};

struct DiscriminatorTable {
  std::span<const ShowerLayer> layers;
  std::int64_t flattened;  ///< inputs of the two heads
};

const GeneratorTable& generator_table(ShowerVariant variant) noexcept;
const DiscriminatorTable& discriminator_table(ShowerVariant variant) noexcept;

/// Of all batch norms: Keras' default, 1e-6 in the variable-angle original.
double norm_epsilon(ShowerVariant variant) noexcept;
inline constexpr double kNormMomentum = 0.01;  ///< Keras' 0.99 in PyTorch's meaning
inline constexpr double kLeakySlope = 0.3;     ///< Keras' default

}  // namespace bunchtrain::models::detail
