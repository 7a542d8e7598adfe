// SPDX-License-Identifier: Apache-2.0
// Invariant: graphs end at units. A unit's inputs are leaves, so that its gradients can be asked for one kind at a time and
// what it holds is free as soon as its own backward is done.
#include "stage.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/module.h>

#include <ranges>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {
namespace {

std::vector<at::Tensor> trained_parameters(const nn::Unit& unit) {
  std::vector<at::Tensor> trained;
  if (unit.module == nullptr) return trained;
  for (const at::Tensor& parameter : unit.module->parameters())
    if (parameter.requires_grad()) trained.push_back(parameter);
  return trained;
}

std::vector<at::Tensor> leaves_of(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs)
    if (input.requires_grad()) leaves.push_back(input);
  return leaves;
}

}  // namespace

void StageValues::set(const std::string& name, const at::Tensor& tensor) {
  tensors.set(name, tensor.detach());
  if (tensor.requires_grad()) differentiable.insert(name);
}

StageValues Stage::forward(int microbatch, const NamedTensors& inputs, StageValues values) {
  Pass pass;
  const bool differentiate = at::GradMode::is_enabled();
  for (const nn::Unit& unit : units_) {
    UnitPass of_unit;
    for (const std::string& name : unit.reads) {
      const at::Tensor* const known = values.tensors.find(name);
      at::Tensor leaf = (known != nullptr ? *known : inputs[name]).detach();
      if (differentiate && values.differentiable.contains(name)) leaf.requires_grad_(true);
      of_unit.inputs.push_back(std::move(leaf));
    }
    NamedTensors local;
    for (std::size_t i = 0; i < unit.reads.size(); ++i) local.set(unit.reads[i], of_unit.inputs[i]);
    if (differentiate && splits_backward_) of_unit.own_layers = std::make_shared<ops::WeightGradientQueue>();
    {
      const ops::WeightGradientQueue::Scope scope(of_unit.own_layers);
      nn::call(unit, local);
    }
    for (const std::string& name : unit.writes) {
      values.set(name, local[name]);
      if (differentiate) of_unit.outputs.push_back(local[name]);
    }
    if (differentiate) pass.units.push_back(std::move(of_unit));
  }
  if (differentiate) passes_[microbatch] = std::move(pass);
  return values;
}

void Stage::add_gradient(int microbatch, const std::string& name, const at::Tensor& gradient) {
  at::Tensor& sum = passes_.at(microbatch).gradients[name];
  sum = sum.defined() ? sum + gradient : gradient;
}

void Stage::find_roots(const nn::Unit& unit, const Pass& pass, UnitPass& of_unit) {
  for (std::size_t i = 0; i < of_unit.outputs.size(); ++i) {
    const auto gradient = pass.gradients.find(unit.writes[i]);
    if (gradient == pass.gradients.end() || !of_unit.outputs[i].requires_grad()) continue;
    of_unit.roots.push_back(of_unit.outputs[i]);
    of_unit.root_gradients.push_back(gradient->second);
  }
  of_unit.outputs.clear();
}

void Stage::add_input_gradients(const nn::Unit& unit, Pass& pass, const UnitPass& of_unit,
                                const std::vector<at::Tensor>& gradients) {
  auto gradient = gradients.begin();
  for (std::size_t i = 0; i < of_unit.inputs.size(); ++i) {
    if (!of_unit.inputs[i].requires_grad()) continue;
    if (gradient->defined()) {
      at::Tensor& sum = pass.gradients[unit.reads[i]];
      sum = sum.defined() ? sum + *gradient : *gradient;
    }
    ++gradient;
  }
}

void Stage::backward(int microbatch) {
  Pass& pass = passes_.at(microbatch);
  for (std::size_t i = units_.size(); i-- > 0;) {
    UnitPass of_unit = std::move(pass.units[i]);
    find_roots(units_[i], pass, of_unit);
    if (of_unit.roots.empty()) continue;
    torch::autograd::backward(of_unit.roots, of_unit.root_gradients);
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& leaf : leaves_of(of_unit.inputs)) gradients.push_back(leaf.grad());
    add_input_gradients(units_[i], pass, of_unit, gradients);
  }
  pass.units.clear();
}

void Stage::input_gradient(int microbatch) {
  Pass& pass = passes_.at(microbatch);
  for (std::size_t i = units_.size(); i-- > 0;) {
    UnitPass& of_unit = pass.units[i];
    find_roots(units_[i], pass, of_unit);
    const std::vector<at::Tensor> leaves = leaves_of(of_unit.inputs);
    const bool weights_follow = !trained_parameters(units_[i]).empty();
    if (!of_unit.roots.empty() && !leaves.empty())
      add_input_gradients(units_[i], pass, of_unit,
                          torch::autograd::grad(of_unit.roots, leaves, of_unit.root_gradients,
                                                /*retain_graph=*/weights_follow, /*create_graph=*/false,
                                                /*allow_unused=*/true));
    if (weights_follow) {
      keep_for_weights(units_[i], of_unit);
    } else {
      of_unit = {};
    }
  }
}

/// Where own layers have put off all that follows, the graph goes.
void Stage::keep_for_weights(const nn::Unit& unit, UnitPass& of_unit) {
  of_unit.inputs.clear();
  of_unit.parameters = trained_parameters(unit);
  if (of_unit.own_layers == nullptr) return;
  for (const at::Tensor& waits : of_unit.own_layers->settle(of_unit.roots))
    std::erase_if(of_unit.parameters, [&](const at::Tensor& parameter) { return parameter.is_same(waits); });
  if (!of_unit.parameters.empty()) return;
  of_unit.roots.clear();
  of_unit.root_gradients.clear();
}

void Stage::weight_gradient(int microbatch) {
  Pass& pass = passes_.at(microbatch);
  for (std::size_t i = units_.size(); i-- > 0;) {
    UnitPass of_unit = std::move(pass.units[i]);
    if (of_unit.own_layers) of_unit.own_layers->run();
    if (of_unit.roots.empty()) continue;
    torch::autograd::backward(of_unit.roots, of_unit.root_gradients, /*retain_graph=*/false,
                              /*create_graph=*/false, of_unit.parameters);
  }
  pass.units.clear();
}

at::Tensor Stage::take_gradient(int microbatch, const std::string& name) {
  auto& gradients = passes_.at(microbatch).gradients;
  const auto found = gradients.find(name);
  if (found == gradients.end()) return {};
  return gradients.extract(found).mapped();
}

}  // namespace bunchtrain::parallel
