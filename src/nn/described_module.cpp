// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/described_module.hpp"

#include <torch/nn/module.h>

namespace bunchtrain::nn {

std::string describe(const torch::nn::Module& module) {
  const auto* described = dynamic_cast<const DescribedModule*>(&module);
  return described ? described->description() : std::string();
}

}  // namespace bunchtrain::nn
