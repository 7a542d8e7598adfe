// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A network whose units sleep, so that a pipeline of more ranks than cores shows its bubbles.

#include <torch/nn/module.h>

#include <chrono>
#include <string>
#include <vector>

#include "bunchtrain/nn/unit.hpp"

namespace bunchtrain::benchmark {

/// `units` units of one parameter each: forward, input gradient and weight gradient sleep `pause` each.
class SleepingNetwork : public torch::nn::Module, public nn::UnitModel {
 public:
  SleepingNetwork(int units, std::chrono::milliseconds pause);

  std::vector<std::string> input_names() const override { return {"x"}; }
  std::vector<std::string> output_names() const override;
  std::vector<nn::Unit> units() override;

 private:
  std::chrono::milliseconds pause_;
  std::vector<std::shared_ptr<torch::nn::Module>> layers_;
};

}  // namespace bunchtrain::benchmark
