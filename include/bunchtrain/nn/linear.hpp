// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A linear layer, y = x W^T + b, with PyTorch's parameter names.

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

namespace bunchtrain::nn {

struct LinearOptions {
  std::int64_t in = 1;
  std::int64_t out = 1;
};

/// Parameters `weight` [out, in] and `bias` [out]; zero until `fill_default_weights`. Follows autocast.
class LinearImpl : public torch::nn::Module {
 public:
  explicit LinearImpl(LinearOptions options);
  /// [..., in] to [..., out].
  at::Tensor forward(const at::Tensor& input);

  at::Tensor weight, bias;
};
TORCH_MODULE(Linear);

}  // namespace bunchtrain::nn
