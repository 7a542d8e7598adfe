// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/sample_norm.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/silu.h>

#include "bunchtrain/ops/modulated_norm.hpp"

namespace bunchtrain::nn {

at::Tensor SampleNormImpl::forward(const at::Tensor& input) {
  if (partition()) return of_slab(input);
  const at::Tensor flat = input.flatten(1);
  return at::layer_norm(flat, {flat.size(1)}, {}, {}, options_.epsilon).view(input.sizes());
}

at::Tensor SampleNormImpl::activate(const at::Tensor& input, const at::Tensor& modulation) {
  at::Tensor scale, shift;
  if (modulation.defined()) {
    const std::int64_t channels = input.size(-1);
    scale = modulation.narrow(1, 0, channels);
    shift = modulation.narrow(1, channels, channels);
  }
  if (ops::has_modulated_norm(input)) {
    ops::ModulatedNormOptions options{.epsilon = options_.epsilon};
    if (partition()) {
      options.reducer = partition()->statistics();
      options.cells = of_whole(input, c10::multiply_integers(input.sizes().slice(1, input.dim() - 2)));
    }
    return ops::modulated_norm_silu(input, scale, shift, options);
  }
  const at::Tensor normalised = forward(input);
  if (!modulation.defined()) return at::silu(normalised);
  std::vector<std::int64_t> beside(static_cast<std::size_t>(input.dim()), 1);
  beside.front() = input.size(0);
  beside.back() = input.size(-1);
  return at::silu(normalised * (1 + scale.reshape(beside)) + shift.reshape(beside));
}

/// Two passes over ranks, mean and variance about it: what cancels in one would cost half of the digits.
at::Tensor SampleNormImpl::of_slab(const at::Tensor& input) {
  const at::Tensor flat = input.flatten(1);
  const auto count = static_cast<double>(of_whole(input, flat.size(1)));
  const at::Tensor mean = partition()->sum(flat.sum(1, /*keepdim=*/true)) / count;
  const at::Tensor about_mean = flat - mean;
  const at::Tensor variance = partition()->sum(about_mean.square().sum(1, /*keepdim=*/true)) / count;
  return (about_mean * (variance + options_.epsilon).rsqrt()).view(input.sizes());
}

}  // namespace bunchtrain::nn
