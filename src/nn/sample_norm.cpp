// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/sample_norm.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/layer_norm.h>

namespace bunchtrain::nn {

at::Tensor SampleNormImpl::forward(const at::Tensor& input) {
  if (partition()) return of_slab(input);
  const at::Tensor flat = input.flatten(1);
  return at::layer_norm(flat, {flat.size(1)}, {}, {}, options_.epsilon).view(input.sizes());
}

/// Two passes over ranks, mean and variance about it: what cancels in one would cost half of the digits.
at::Tensor SampleNormImpl::of_slab(const at::Tensor& input) {
  const AxisCut& cut = cut_of(input);
  const at::Tensor flat = input.flatten(1);
  const double count = static_cast<double>(flat.size(1) / input.size(1) * cut.extent());
  const at::Tensor mean = partition()->sum(flat.sum(1, /*keepdim=*/true)) / count;
  const at::Tensor about_mean = flat - mean;
  const at::Tensor variance = partition()->sum(about_mean.square().sum(1, /*keepdim=*/true)) / count;
  return (about_mean * (variance + options_.epsilon).rsqrt()).view(input.sizes());
}

}  // namespace bunchtrain::nn
