// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolution of channels-last images with equal padding on both sides: the computation behind `conv3d`.

#include <ATen/core/Tensor.h>

#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::ops::detail {

/// [B, X, Y, Z, Cin] to [B, X', Y', Z', Cout], dense, with `padding` zeros on both sides. Differentiable to
/// any order, autocasts.
at::Tensor convolve(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                    const Extent3& padding);

}  // namespace bunchtrain::ops::detail
