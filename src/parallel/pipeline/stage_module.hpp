// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a rank of a pipeline keeps of a network.

#include <torch/nn/module.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/nn/unit.hpp"

namespace bunchtrain::parallel {

/// The modules of some units under the names that they have in the whole network.
class StageModule : public torch::nn::Module, public nn::Model {
 public:
  /// @throws ConfigError if a unit's module is not registered in the network.
  StageModule(std::shared_ptr<torch::nn::Module> network, std::span<const nn::Unit> units);

  std::vector<std::string> input_names() const override;
  std::string description() const override;
  /// @throws ConfigError: no rank has the whole network.
  NamedTensors forward(const NamedTensors& inputs) override;

 private:
  void add(const std::string& path, std::shared_ptr<torch::nn::Module> module);

  std::shared_ptr<torch::nn::Module> network_;
};

/// @throws ConfigError naming a parameter or buffer that no unit has, or that two have.
void require_units_cover(const torch::nn::Module& network, std::span<const nn::Unit> units);
/// Frees the tensors of units that other ranks have: they have no elements afterwards.
void release(std::span<const nn::Unit> units);

}  // namespace bunchtrain::parallel
