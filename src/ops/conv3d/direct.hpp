// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolutions of channels-last images by kernels of ours on a GPU's tensor cores, and which calls they take.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "bunchtrain/ops/conv3d.hpp"
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

/// The three computations of a layer.
enum class ConvolutionPass { output, image_gradient, weight_gradient };

/// What the kernels see of it. The source of the gradient of the image is the gradient of the result.
DirectShape shape_of_pass(const DirectGeometry& geometry, std::int64_t batch, ConvolutionPass pass);

/// What of a call decides.
struct DirectCall {
  DirectGeometry geometry = {};
  std::int64_t batch = 0;
  at::ScalarType type = at::kFloat;  ///< of image, weight and bias
  bool one_type = true;
  bool unit_steps = true;       ///< stride and dilation are 1
  bool tf32 = false;            ///< convolutions of float32 may be rounded to it
  int compute_capability = 90;  ///< 90 = 9.0
};

/// Why the kernels do not take a pass of a call, as part of a sentence; empty if they do.
std::string why_not_direct(const DirectCall& call, ConvolutionPass pass);

/// The layer and the pass, whatever the batch: under this name the choice is kept.
std::string name_of(const DirectCall& call, ConvolutionPass pass);

// Without autograd. `weight` [factor^3 channels, inputs, kernel] and `image` [B, cells, inputs] of one type, bfloat16 or
// float32, which is rounded to tf32. @pre nothing stands against it; @throws NotBuiltError in a build without CUDA

/// [B, fine, channels]; `bias` [channels] may be undefined.
at::Tensor direct_output(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias,
                         const DirectGeometry& geometry);
/// [B, cells, inputs] from the gradient [B, fine, channels].
at::Tensor direct_image_gradient(const at::Tensor& gradient, const at::Tensor& weight,
                                 const DirectGeometry& geometry);
/// [factor^3 channels, inputs, kernel], rounded once to the type of the image.
at::Tensor direct_weight_gradient(const at::Tensor& gradient, const at::Tensor& image,
                                  const DirectGeometry& geometry);

}  // namespace bunchtrain::ops::detail
