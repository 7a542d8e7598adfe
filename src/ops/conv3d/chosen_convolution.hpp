// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A convolution on a GPU each of whose three computations goes the way that was chosen for its layer.

#include <ATen/core/Tensor.h>

#include <optional>

#include "direct.hpp"

namespace bunchtrain::ops::detail {

/// [B, fine, channels] of one image, by phases; differentiable to any order, autocasts. Nothing where no computation may go
/// another way than LibTorch's: on the CPU, of other types, of slabs, where kernels of ours do not apply.
/// @param weight [factor^3 channels, inputs, kernel] @param bias [channels], may be undefined
std::optional<at::Tensor> convolve_as_chosen(at::TensorList stretches, const at::Tensor& weight,
                                             const at::Tensor& bias, const DirectGeometry& geometry,
                                             bool unit_steps = true);

/// The same of what autocast has made, whatever the device. @param call its batch is that of `image`
at::Tensor convolve_as_chosen(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias,
                              const DirectCall& call);

/// [B, outputs, factor^3 channels] sorted into [B, fine, channels]: cell o of phase r is cell factor o + r. Differentiable.
at::Tensor sorted_phases(const at::Tensor& wide, const Extent3& factor, const Extent3& fine);

}  // namespace bunchtrain::ops::detail
