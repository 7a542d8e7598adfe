// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolutions of one image at a time for inference, on raw pointers: float32, stride 1, zeros around the image where
/// it lies. What a value becomes behind its sum (activation, folded batch norm) costs no pass over memory.
///
/// Two ways, for a vector register has 16 lanes and a layer of 3DGAN 1 to 1728 output channels: channels in the lanes
/// where there are many, cells along z where there are few. Every sum is in the order of its taps, whatever lies beside.

#include <cstdint>
#include <span>

#include "bunchtrain/ops/extent3.hpp"

namespace bunchtrain::ops::detail {

/// y = max(v, slope v) scale + shift of v = sum + bias, by output channel; slope in [0, 1].
struct ImageEpilogue {
  const float* bias;
  const float* scale;
  const float* shift;
  float slope;
};

inline constexpr std::int64_t kWindowColumns = 16;  ///< `columns` is a multiple of it
inline constexpr std::int64_t kPlaneSlack =
    64;  ///< floats behind an image of planes that are read and not used

/// The taps along z of all channels at one place in x and y: they lie behind each other.
struct WindowRun {
  std::int64_t begin;  ///< from the window's begin
  std::int64_t block;  ///< of the weights
};

/// Many output channels: windows of a channels-last image times a matrix. Runs that see zeros alone are left out.
struct WindowProduct {
  const float* weight;  ///< [blocks, run, columns]
  ImageEpilogue epilogue;
  std::int64_t columns;
  std::int64_t run;
  std::span<const WindowRun> runs;
};

/// y [windows, columns] of the windows that begin at x + windows[i].
void multiply_windows(const WindowProduct& product, const float* x, std::span<const std::int64_t> windows,
                      float* y);

/// Few output channels: an image of planes, z in the lanes.
struct PlaneConvolution {
  const float* weight;  ///< [in, kx, ky, kz, out]
  ImageEpilogue epilogue;
  std::int64_t in, out;
  Extent3 kernel;
};

/// An image of planes, z dense.
struct PlaneStrides {
  std::int64_t channel, x, y;
};

/// The cells [0, cells) of all output channels; the input has its zeros and, behind them, kPlaneSlack.
void convolve_planes(const PlaneConvolution& convolution, const float* x, const PlaneStrides& x_strides,
                     const Extent3& cells, float* y, const PlaneStrides& y_strides);

}  // namespace bunchtrain::ops::detail
