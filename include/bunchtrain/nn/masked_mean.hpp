// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Mean over the real particles of a jet.

#include <ATen/core/Tensor.h>

namespace bunchtrain::nn {

/// [B, C] mean of `features` [B, P, C] over the particles of `mask` [B, P] bool (true = real). A jet with
/// none gives zero: its sum is divided by 1.
at::Tensor masked_mean(const at::Tensor& features, const at::Tensor& mask);

}  // namespace bunchtrain::nn
