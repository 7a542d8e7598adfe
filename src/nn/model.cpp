// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/model.hpp"

#include <torch/nn/module.h>

namespace bunchtrain::nn {

Model* as_model(torch::nn::Module& module) noexcept { return dynamic_cast<Model*>(&module); }
const Model* as_model(const torch::nn::Module& module) noexcept {
  return dynamic_cast<const Model*>(&module);
}

std::string describe(const torch::nn::Module& module) {
  const Model* model = as_model(module);
  return model ? model->description() : std::string();
}

}  // namespace bunchtrain::nn
