// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How a direct convolution on tensor cores is divided over blocks. No CUDA, no LibTorch.
///
/// An "octet" is 8 channels of a cell, the depth of a step of tf32 and half of one of bfloat16. What decides about bits depends
/// on sizes alone, what does not on the card as well (`ConvolutionTiles`).

#include <cstddef>
#include <cstdint>
#include <optional>

#include "bunchtrain/ops/extent3.hpp"
#include "convolution_tiles.hpp"

namespace bunchtrain::ops::detail {

inline constexpr int kDirectThreads = 256, kDirectWarps = kDirectThreads / 32;
inline constexpr int kOctet = 8;
/// Of a tile of the weight's gradient at most, and of a block of any card from compute capability 8.0 on.
inline constexpr std::size_t kDirectSharedBytes = 96 * 1024;

constexpr int octets_of(std::int64_t channels) noexcept {
  return static_cast<int>((channels + kOctet - 1) / kOctet);
}

/// A convolution with steps of 1 as the kernels see it.
struct DirectShape {
  std::int64_t batch;
  Extent3 outputs, kernel, before;  ///< before: zeros in front of the source; below 0: cells cut off
  std::int64_t channels, columns;   ///< of a cell of the source, and of the result

  std::int64_t taps() const noexcept { return kernel[0] * kernel[1] * kernel[2]; }
};

/// What a block works on. Sizes are of int for the kernels' sake.
struct DirectTiles {
  int outputs[3], kernel[3], before[3];
  int tile[3], count[3];                  ///< outputs of a block, and blocks of an image
  int halo[3];                            ///< cells of the source that a block sees
  int pitch;                              ///< cells from one plane of chunks in shared memory to the next
  int taps, octets;                       ///< octets of the source's channels
  int steps = 0;                          ///< of a product over all taps of an octet
  int columns, groups;                    ///< of the result; groups of 8
  int slice = 1, stage = 0;               ///< octets of cells and steps of weights in shared memory at once
  int buffers = 1;                        ///< of weights, or of tiles of the weight's gradient
  int cell_buffers = 1;                   ///< of slices
  int row_pitch = 0;                      ///< as `pitch`, of the rows of a gradient
  int warps_m = 0;                        ///< how many warps share the taps; the others share the columns
  int tap_groups = 1, column_groups = 1;  ///< blocks along both, for each octet
  int slots = 0;                          ///< blocks along the images
  std::int64_t blocks = 0;                ///< of all images
  std::size_t shared_bytes = 0;
};

/// Fragments of a warp: 16 kM rows by 8 kN columns.
struct WarpShape {
  int m, n;
};
constexpr WarpShape convolution_warp(int groups) noexcept {
  return groups == 1 ? WarpShape{4, 1} : groups == 2 ? WarpShape{2, 2} : WarpShape{2, 4};
}
constexpr WarpShape weight_warp(int groups) noexcept {
  return groups == 1 ? WarpShape{8, 1} : WarpShape{2, 4};
}

/// Steps of a product over all taps of an octet, of numbers of so many bytes: 4 for tf32, 2 for bfloat16.
constexpr int steps_of_octet(int taps, int number_bytes) noexcept {
  return number_bytes == 4 ? taps : (taps + 1) / 2;
}

/// Nothing if shared memory or the grid do not suffice: on every card alike, as one that `line` cuts too small takes tiles of
/// 96 KB. Thread-safe.
std::optional<DirectTiles> plan_convolution(const DirectShape& shape, int number_bytes,
                                            const ConvolutionTiles& line);
/// Of the gradient of the weight: the source is the image, `columns` are those of the output's gradient.
std::optional<DirectTiles> plan_weight_gradient(const DirectShape& shape, int number_bytes,
                                                const ConvolutionTiles& line);

/// Numbers of the weight as the kernels read it, `[octets, steps, groups, 2, 8, 16 bytes]`.
std::int64_t packed_numbers(const DirectTiles& tiles, int number_bytes) noexcept;
/// Numbers of a slot's share of the gradient of the weight, `[octets, taps, 8, 8 groups]`.
std::int64_t partial_numbers(const DirectTiles& tiles) noexcept;

}  // namespace bunchtrain::ops::detail
