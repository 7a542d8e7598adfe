// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/registry.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/model.hpp"

namespace bunchtrain::models {
namespace {

struct NamedModel {
  std::string name;
  ModelFactory make;
};

template <class Impl, class Options>
std::shared_ptr<torch::nn::Module> make(const ModelDescription& description) {
  return std::make_shared<Impl>(Options::from(description));
}

std::vector<NamedModel>& known_models() {
  static std::vector<NamedModel> models = {
      {"particlenet", make<ParticleNetImpl, ParticleNetOptions>},
      {"particlenet-lite", make<ParticleNetImpl, ParticleNetOptions>},
      {"3dgan-generator", make<ShowerGeneratorImpl, ShowerGeneratorOptions>},
      {"calo-diffusion", make<CaloDiffusionImpl, CaloDiffusionOptions>},
  };
  return models;
}

const NamedModel* find_model(std::string_view name) {
  const auto& models = known_models();
  const auto found = std::ranges::find(models, name, &NamedModel::name);
  return found == models.end() ? nullptr : &*found;
}

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_of(" \t\n=") == std::string_view::npos;
}

}  // namespace

void register_model(std::string name, ModelFactory factory) {
  if (!is_word(name) || !factory) throw ConfigError("model", name, "one word and a function that makes it");
  if (find_model(name)) throw ConfigError("model", name, "a name that no other model has");
  known_models().push_back({std::move(name), std::move(factory)});
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& model : known_models()) all.push_back(model.name);
  return all;
}

std::shared_ptr<torch::nn::Module> create(const ModelDescription& description) {
  const NamedModel* known = find_model(description.name());
  if (!known) {
    const std::string meant = nearest(description.name(), names());
    throw ConfigError(
        "model", description.name(),
        fmt::format("one of {}, or one that the program registers (models::register_model){}",
                    fmt::join(names(), ", "), meant.empty() ? "" : fmt::format("; is '{}' meant?", meant)));
  }
  auto module = known->make(description);
  if (!module || !nn::as_model(*module))
    throw ConfigError(fmt::format(
        "the factory of model '{}' makes no nn::Model: derive the module from bunchtrain::nn::Model beside "
        "torch::nn::Module",
        description.name()));
  description.require_known_fields();
  return module;
}

std::shared_ptr<torch::nn::Module> create_from(std::string_view text) {
  return create(ModelDescription::parse(text));
}

std::int64_t count_parameters(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const at::Tensor& parameter : module.parameters())
    count += parameter.requires_grad() ? parameter.numel() : 0;
  return count;
}

}  // namespace bunchtrain::models
