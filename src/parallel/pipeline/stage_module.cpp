// SPDX-License-Identifier: Apache-2.0
#include "stage_module.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <map>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {
namespace {

/// A module that has nothing but parts: a word of a name.
struct Folder : torch::nn::Module {};

std::vector<at::Tensor> tensors_of(const torch::nn::Module& module) {
  std::vector<at::Tensor> tensors = module.parameters();
  for (const at::Tensor& buffer : module.buffers()) tensors.push_back(buffer);
  return tensors;
}

}  // namespace

StageModule::StageModule(std::shared_ptr<torch::nn::Module> network, std::span<const nn::Unit> units)
    : network_(std::move(network)) {
  std::map<const torch::nn::Module*, std::string> paths;
  for (const auto& part : network_->named_modules()) paths.emplace(part.value().get(), part.key());
  for (const nn::Unit& unit : units) {
    if (unit.module == nullptr) continue;
    const auto path = paths.find(unit.module.get());
    if (path == paths.end() || path->second.empty())
      throw ConfigError(fmt::format(
          "the module of unit '{}' is no registered part of the network: register_module gives it a name",
          unit.name));
    add(path->second, unit.module);
  }
}

void StageModule::add(const std::string& path, std::shared_ptr<torch::nn::Module> module) {
  torch::nn::Module* folder = this;
  std::size_t begin = 0;
  for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
    const std::string word = path.substr(begin, dot - begin);
    const auto parts = folder->named_children();
    const auto* const known = parts.find(word);
    folder =
        known != nullptr ? known->get() : folder->register_module(word, std::make_shared<Folder>()).get();
    begin = dot + 1;
  }
  folder->register_module(path.substr(begin), std::move(module));
}

std::vector<std::string> StageModule::input_names() const { return nn::as_model(*network_)->input_names(); }
std::string StageModule::description() const { return nn::describe(*network_); }

NamedTensors StageModule::forward(const NamedTensors& /*inputs*/) {
  throw ConfigError(
      "a rank of a pipeline has only some stages of the network: call the engine's `evaluate`, or load the bundle of the "
      "run on one rank");
}

void require_units_cover(const torch::nn::Module& network, std::span<const nn::Unit> units) {
  std::map<const at::TensorImpl*, std::string> owners;
  for (const nn::Unit& unit : units) {
    if (unit.module == nullptr) continue;
    for (const at::Tensor& tensor : tensors_of(*unit.module)) {
      const auto [first, is_new] = owners.emplace(tensor.unsafeGetTensorImpl(), unit.name);
      if (!is_new)
        throw ConfigError(fmt::format(
            "units '{}' and '{}' share a parameter or buffer, which would then be on two ranks: make them one unit",
            first->second, unit.name));
    }
  }
  const auto require_owner = [&](const std::string& name, const at::Tensor& tensor) {
    if (tensor.defined() && !owners.contains(tensor.unsafeGetTensorImpl()))
      throw ConfigError(
          fmt::format("no unit has '{}' of the network: name its module in the unit that uses it", name));
  };
  for (const auto& item : network.named_parameters()) require_owner(item.key(), item.value());
  for (const auto& item : network.named_buffers()) require_owner(item.key(), item.value());
}

void release(std::span<const nn::Unit> units) {
  const at::NoGradGuard no_gradients;
  for (const nn::Unit& unit : units) {
    if (unit.module == nullptr) continue;
    for (at::Tensor& tensor : tensors_of(*unit.module)) tensor.set_data(at::empty({0}, tensor.options()));
  }
}

}  // namespace bunchtrain::parallel
