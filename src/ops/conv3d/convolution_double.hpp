// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolutions in float64 on the CPU.
///
/// LibTorch's unfold the image for them, gigabytes for one shower; these loops read it where it lies. float64
/// is for comparisons, not for speed.

#include <ATen/core/Tensor.h>

#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::ops::detail {

/// Dense [B, X', Y', Z', Cout] of the dense [B, X, Y, Z, Cin], without autograd. `bias` may be undefined.
at::Tensor double_output(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                         const Extent3& padding);

/// The gradient of the weight from that of the output.
at::Tensor double_weight_gradient(const at::Tensor& gradient, const at::Tensor& input,
                                  const at::Tensor& weight, const Extent3& padding);

}  // namespace bunchtrain::ops::detail
