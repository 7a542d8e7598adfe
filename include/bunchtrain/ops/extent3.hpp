// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Extents and padding of three-dimensional images. Knows no LibTorch.

#include <array>
#include <cstddef>
#include <cstdint>

namespace bunchtrain::ops {

using Extent3 = std::array<std::int64_t, 3>;  ///< along x, y, z

/// Zeros put around an image; the two sides may differ (Keras' "same" with an even kernel).
struct Padding3 {
  Extent3 before = {0, 0, 0};
  Extent3 after = {0, 0, 0};

  /// As many zeros before as behind.
  static constexpr Padding3 symmetric(Extent3 cells) { return {cells, cells}; }
  /// The output has the input's shape, as Keras' and TensorFlow's "same" with stride 1:
  /// (k - 1) / 2 zeros before.
  static constexpr Padding3 same(Extent3 kernel) {
    Padding3 padding;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      padding.before[axis] = (kernel[axis] - 1) / 2;
      padding.after[axis] = kernel[axis] - 1 - padding.before[axis];
    }
    return padding;
  }
};

/// How one axis of a convolution behind a nearest-neighbour upsampling falls apart into phases: the output cell
/// factor q + r (phase r) sees the small image's cells q + first to q + last, the kernel's cell t the one at
/// floor((r + t - padding) / factor).
struct AxisPhases {
  std::int64_t factor = 1, kernel = 1, padding = 0;  ///< padding: zeros before the upsampled image

  constexpr std::int64_t cell_of(std::int64_t phase, std::int64_t tap) const noexcept {
    const std::int64_t fine = phase + tap - padding;
    return fine >= 0 ? fine / factor : -((-fine + factor - 1) / factor);
  }
  constexpr std::int64_t first() const noexcept { return cell_of(0, 0); }
  constexpr std::int64_t last() const noexcept { return cell_of(factor - 1, kernel - 1); }
  constexpr std::int64_t taps() const noexcept { return last() - first() + 1; }
};

}  // namespace bunchtrain::ops
