// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/masked_mean.hpp"

namespace bunchtrain::nn {

at::Tensor masked_mean(const at::Tensor& features, const at::Tensor& mask) {
  const at::Tensor count = mask.sum(1, /*keepdim=*/true).clamp_min(1).to(features.scalar_type());
  return features.mul(mask.unsqueeze(2)).sum(1).div(count);
}

}  // namespace bunchtrain::nn
