// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The network of the benchmark.

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <vector>

namespace bunchtrain::benchmark {

/// `layers` square linear layers with ReLU: 2 * layers tensors, layers * (width^2 + width) parameters.
struct Stack : torch::nn::Module {
  Stack(int layers, std::int64_t width) {
    for (int i = 0; i < layers; ++i) {
      parts.push_back(register_module("layer" + std::to_string(i), torch::nn::Linear(width, width)));
    }
  }
  at::Tensor loss(at::Tensor value) {
    for (auto& part : parts) value = part->forward(value).relu();
    return value.square().mean();
  }
  std::vector<torch::nn::Linear> parts;
};

}  // namespace bunchtrain::benchmark
