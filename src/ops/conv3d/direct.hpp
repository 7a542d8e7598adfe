// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolutions of channels-last images by kernels of ours on a GPU's tensor cores, and which calls they take.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "direct_geometry.hpp"

namespace bunchtrain::ops::detail {

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

// Without autograd; the same bits whatever `line` is. `weight` [factor^3 channels, inputs, kernel] and `image` [B, cells, inputs] of one type, bfloat16 or
// float32, which is rounded to tf32. @pre nothing stands against it; @throws NotBuiltError in a build without CUDA

/// [B, fine, channels]; `bias` [channels] may be undefined.
at::Tensor direct_output(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias,
                         const DirectGeometry& geometry, const ConvolutionTiles& line);
/// [B, cells, inputs] from the gradient [B, fine, channels].
at::Tensor direct_image_gradient(const at::Tensor& gradient, const at::Tensor& weight,
                                 const DirectGeometry& geometry, const ConvolutionTiles& line);
/// [factor^3 channels, inputs, kernel], rounded once to the type of the image.
at::Tensor direct_weight_gradient(const at::Tensor& gradient, const at::Tensor& image,
                                  const DirectGeometry& geometry, const ConvolutionTiles& line);

}  // namespace bunchtrain::ops::detail
