// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolution of channels-last images with any padding, stride and dilation: the computation behind `conv3d`.

#include <ATen/core/Tensor.h>

#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::ops::detail {

struct Window {
  Padding3 padding = {};  ///< below 0: cells that are cut off
  Extent3 stride = {1, 1, 1}, dilation = {1, 1, 1};

  bool has_unit_steps() const noexcept { return stride == kOnes && dilation == kOnes; }

 private:
  static constexpr Extent3 kOnes = {1, 1, 1};
};

/// [B, X, Y, Z, Cin], given as stretches along x, to [B, X', Y', Z', Cout], dense. For backward the stretches are kept, and
/// nothing of their size beside them. Differentiable to any order, autocasts.
at::Tensor convolve(at::TensorList stretches, const at::Tensor& weight, const at::Tensor& bias,
                    const Window& window);

/// Which gradients backward asks for, and what it found; undefined: not asked for.
struct NeededGradients {
  bool image = false, weight = false, bias = false;
};
struct ConvolutionGradients {
  at::Tensor image, weight, bias;
};

/// `convolve` of one image, without autograd and autocast.
at::Tensor plain_output(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias,
                        const Window& window);
/// Its gradients from that of its output. Differentiable where gradients are.
ConvolutionGradients plain_gradients(const at::Tensor& gradient, const at::Tensor& image,
                                     const at::Tensor& weight, const Window& window, NeededGradients needed);

/// Transposed, without anything cut off: [B, X, Y, Z, Cin] to [B, (X - 1) stride + kx, ..., Cout].
at::Tensor convolve_transposed(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                               const Extent3& stride);

}  // namespace bunchtrain::ops::detail
