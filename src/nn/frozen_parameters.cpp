// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/frozen_parameters.hpp"

#include <torch/nn/module.h>

namespace bunchtrain::nn {

FrozenParameters::FrozenParameters(torch::nn::Module& module) {
  for (auto& parameter : module.parameters()) {
    if (!parameter.requires_grad()) continue;
    parameter.set_requires_grad(false);
    parameters_.push_back(parameter);
  }
}

FrozenParameters::~FrozenParameters() {
  for (auto& parameter : parameters_) parameter.set_requires_grad(true);
}

}  // namespace bunchtrain::nn
