// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Normalisation of each sample over all its cells and channels.

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "bunchtrain/nn/spatial_partition.hpp"

namespace bunchtrain::nn {

struct SampleNormOptions {
  double epsilon = 1e-5;
};

/// Each sample with mean 0 and variance 1 over everything but the first dimension: group norm of one group, layer norm over
/// the image. No parameters: scale and shift come from elsewhere. Differentiable to any order.
class SampleNormImpl : public torch::nn::Module, public SpatialLayer {
 public:
  explicit SampleNormImpl(SampleNormOptions options = {}) : options_(options) {}
  /// [B, X, ...] to the same.
  at::Tensor forward(const at::Tensor& input);
  /// SiLU(forward(input) (1 + scale) + shift) with scale and shift [B, C] beside each other in `modulation` [B, 2 C]; without
  /// it of forward(input) alone. On the CPU in two passes over memory (`ops::modulated_norm_silu`), differentiable once.
  at::Tensor activate(const at::Tensor& input, const at::Tensor& modulation = {});

 private:
  at::Tensor of_slab(const at::Tensor& input);

  SampleNormOptions options_;
};
TORCH_MODULE(SampleNorm);

}  // namespace bunchtrain::nn
