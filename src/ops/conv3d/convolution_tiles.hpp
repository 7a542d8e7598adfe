// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How blocks of direct convolutions are cut, by architecture. No CUDA, no LibTorch.
///
/// Results are the same bits whatever a line says: an output is a sum over octets and taps in their order, wherever its block
/// ends. What decides about bits, the division of the weight's gradient, is no entry (`plan_weight_gradient`).
///
/// `gpu-kit lab convolution` measures a card and prints its line.

#include <cstddef>

namespace bunchtrain::ops::detail {

struct ConvolutionTiles {
  int compute_capability;  ///< from this one to that of the next line; 90 = 9.0
  int block_kib;           ///< shared memory that a block may take
  // Of outputs and of the gradient of the image:
  int shared_kib;  ///< what a block takes at most
  int stage_kib;   ///< weights in shared memory at once
  int along;       ///< outputs of a block along x and y at most
  int buffers;     ///< 2: the next stage, and the next cells, are copied while products run
  /// Of the gradient of the weight: 2: the next tile is copied while products run.
  int gradient_buffers;
};

/// As much as lets two blocks onto a multiprocessor, one of which copies while the other multiplies: chosen so by shared memory,
/// no card has measured a line yet.
inline constexpr ConvolutionTiles kConvolutionTiles[] = {
    {80, 163, 80, 24, 8, 1, 1}, {86, 99, 48, 12, 8, 1, 1},  {87, 163, 80, 24, 8, 1, 1},
    {89, 99, 48, 12, 8, 1, 1},  {90, 227, 96, 24, 8, 1, 1}, {120, 99, 48, 12, 8, 1, 1},
};

/// The line of a card.
constexpr const ConvolutionTiles& convolution_tiles(int compute_capability) {
  const ConvolutionTiles* own = kConvolutionTiles;
  for (const ConvolutionTiles& line : kConvolutionTiles)
    if (line.compute_capability <= compute_capability) own = &line;
  return *own;
}

}  // namespace bunchtrain::ops::detail
