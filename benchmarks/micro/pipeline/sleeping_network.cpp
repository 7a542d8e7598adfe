// SPDX-License-Identifier: Apache-2.0
#include "sleeping_network.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <torch/csrc/autograd/custom_function.h>

#include <thread>

namespace bunchtrain::benchmark {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// y = w x. Each gradient that is asked for takes its time, as a convolution's do.
struct SleepyProduct : torch::autograd::Function<SleepyProduct> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& w,
                            std::int64_t milliseconds) {
    context->save_for_backward({x, w});
    context->saved_data["pause"] = milliseconds;
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return x * w;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const std::chrono::milliseconds pause(context->saved_data["pause"].toInt());
    variable_list result(3);
    if (context->needs_input_grad(0)) {
      std::this_thread::sleep_for(pause);
      result[0] = gradients[0] * saved[1];
    }
    if (context->needs_input_grad(1)) {
      std::this_thread::sleep_for(pause);
      result[1] = (gradients[0] * saved[0]).sum().reshape({1});
    }
    return result;
  }
};

struct SleepyLayer : torch::nn::Module {
  SleepyLayer() { weight = register_parameter("weight", at::ones({1})); }
  at::Tensor weight;
};

std::string value_name(int unit) { return "h" + std::to_string(unit); }

}  // namespace

SleepingNetwork::SleepingNetwork(int units, std::chrono::milliseconds pause) : pause_(pause) {
  for (int i = 0; i < units; ++i)
    layers_.push_back(register_module("layer" + std::to_string(i), std::make_shared<SleepyLayer>()));
}

std::vector<std::string> SleepingNetwork::output_names() const {
  return {value_name(static_cast<int>(layers_.size()))};
}

std::vector<nn::Unit> SleepingNetwork::units() {
  std::vector<nn::Unit> units;
  for (int i = 0; i < static_cast<int>(layers_.size()); ++i) {
    const at::Tensor weight = static_cast<SleepyLayer&>(*layers_[i]).weight;
    units.push_back(
        {.name = "layer" + std::to_string(i),
         .module = layers_[i],
         .reads = {i == 0 ? "x" : value_name(i)},
         .writes = {value_name(i + 1)},
         .forward = [weight, pause = pause_.count(), first = i == 0](const std::vector<at::Tensor>& inputs) {
           // Without a gradient of its own input the first unit would be cheaper than the others.
           const at::Tensor x = first ? inputs[0].detach().requires_grad_(true) : inputs[0];
           return std::vector<at::Tensor>{SleepyProduct::apply(x, weight, pause)};
         }});
  }
  return units;
}

}  // namespace bunchtrain::benchmark
