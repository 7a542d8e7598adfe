// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Parameters that take no gradient for a while: a discriminator in the generator's update.

#include <ATen/core/Tensor.h>

#include <vector>

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// Turns `requires_grad` of a module's parameters off, and on again at the end of its life. Gradients still
/// pass through the module to its inputs; those of its weights are never computed. What is built while it
/// lives keeps the choice: backward may run afterwards. Not thread-safe.
class FrozenParameters {
 public:
  explicit FrozenParameters(torch::nn::Module& module);
  ~FrozenParameters();
  FrozenParameters(const FrozenParameters&) = delete;
  FrozenParameters& operator=(const FrozenParameters&) = delete;

 private:
  std::vector<at::Tensor> parameters_;  ///< those that took gradients
};

}  // namespace bunchtrain::nn
