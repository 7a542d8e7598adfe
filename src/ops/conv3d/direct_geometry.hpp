// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolutions as kernels on a GPU's tensor cores compute them. No CUDA, no LibTorch.

#include <cstddef>
#include <cstdint>

#include "bunchtrain/ops/extent3.hpp"
#include "direct_tiles.hpp"

namespace bunchtrain::ops::detail {

/// A convolution with steps of 1 whose result is sorted by phases: cell o of `outputs` has the channels of factor^3 cells from
/// factor o on; those behind `fine` are dropped. factor 1: a plain one, and `fine` is `outputs`.
struct DirectGeometry {
  Extent3 cells = {};  ///< of the image
  Extent3 outputs = {}, kernel = {};
  Extent3 before = {};  ///< zeros in front of the image; below 0: cells cut off
  Extent3 factor = {1, 1, 1}, fine = {};
  std::int64_t inputs = 0, channels = 0;  ///< channels of a cell of the image, and of one of the result

  std::int64_t phases() const noexcept { return factor[0] * factor[1] * factor[2]; }
};

/// A layer on images of so many cells, which are repeated `factor` times first; `padding` counts cells after that.
struct ConvolutionLayer {
  Extent3 cells;
  std::int64_t inputs, channels;
  Extent3 kernel;
  Padding3 padding = {};
  Extent3 factor = {1, 1, 1};
};

inline DirectGeometry geometry_of(const ConvolutionLayer& layer) {
  DirectGeometry g{
      .cells = layer.cells, .factor = layer.factor, .inputs = layer.inputs, .channels = layer.channels};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const AxisPhases phases{layer.factor[axis], layer.kernel[axis], layer.padding.before[axis]};
    g.fine[axis] = layer.factor[axis] * layer.cells[axis] + layer.padding.before[axis] +
                   layer.padding.after[axis] - layer.kernel[axis] + 1;
    g.outputs[axis] = (g.fine[axis] + layer.factor[axis] - 1) / layer.factor[axis];
    g.kernel[axis] = phases.taps();
    g.before[axis] = -phases.first();
  }
  return g;
}

/// The three computations of a layer.
enum class ConvolutionPass { output, image_gradient, weight_gradient };

/// What the kernels see of it. The source of the gradient of the image is the gradient of the result.
inline DirectShape shape_of_pass(const DirectGeometry& g, std::int64_t batch, ConvolutionPass pass) {
  const std::int64_t wide = g.phases() * g.channels;
  if (pass != ConvolutionPass::image_gradient) return {batch, g.outputs, g.kernel, g.before, g.inputs, wide};
  Extent3 before;
  for (std::size_t axis = 0; axis < 3; ++axis) before[axis] = g.kernel[axis] - 1 - g.before[axis];
  return {batch, g.cells, g.kernel, before, wide, g.inputs};
}

}  // namespace bunchtrain::ops::detail
