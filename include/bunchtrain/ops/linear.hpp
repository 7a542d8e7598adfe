// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A linear map that can put off the gradients of its weights.

#include <ATen/core/Tensor.h>

namespace bunchtrain::ops {

/// `at::linear`: y = x W^T + b. @param input [..., in] @param weight [out, in] @param bias [out]
/// While a `WeightGradientQueue` is current, gradients of weight and bias go there.
at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace bunchtrain::ops
