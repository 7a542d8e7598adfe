// SPDX-License-Identifier: Apache-2.0
#include "loaded_network.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/shower_card.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "raw_rows.hpp"

namespace bunchtrain::infer {
namespace {

std::shared_ptr<torch::nn::Module> build(const weights::Bundle& bundle, const std::string& origin) {
  if (bundle.model.empty())
    throw CheckpointError(fmt::format(
        "{} is of a network that does not say how it is built: give the module an nn::Model::description() and register "
        "it by models::register_model(name, factory)",
        origin));
  const auto description = models::ModelDescription::parse(bundle.model);
  const auto known = models::names();
  if (std::ranges::find(known, description.name()) == known.end())
    throw CheckpointError(fmt::format(
        "{} is of the network '{}', which this program cannot build (it knows {}): register it by "
        "models::register_model(name, factory) before it is loaded",
        origin, description.name(), fmt::join(known, ", ")));
  return models::create(description);
}

std::optional<features::Card> read_card(const weights::Bundle& bundle, const std::string& origin) {
  if (bundle.card.empty() || features::is_shower_card(bundle.card)) return std::nullopt;
  return detail::read_jet_card(bundle.card, origin);
}

std::vector<std::string> class_names(const features::Card& card) {
  std::vector<std::string> names;
  for (const features::ClassSpec& spec : card.classes) names.push_back(spec.name);
  return names;
}

NamedTensors empty_jet(const features::Card& card, at::ScalarType type) {
  NamedTensors jet;
  for (const auto& [tensor, columns] : card.inputs)
    jet.set(tensor, at::zeros({1, card.length, std::ssize(columns)}, type));
  jet.set("mask", at::zeros({1, card.length}, at::kBool));
  return jet;
}

/// What it estimates must be what its card knows.
void require_targets(const LoadedNetwork& network) {
  const auto* particle_net = dynamic_cast<const models::ParticleNetImpl*>(network.module.get());
  if (!particle_net) return;
  for (const models::RegressionHead& head : particle_net->options().heads)
    if (std::ranges::find(network.estimates, head.name) == network.estimates.end())
      throw CheckpointError(fmt::format(
          "{} is of a network that estimates '{}', which is no target of its card: they do not belong together; "
          "write the bundle again from its run",
          network.origin, head.name));
}

/// What the network gives for one empty jet must be what the card knows: logits of the classes, estimates of targets.
void require_outputs(LoadedNetwork& network) {
  const features::Card& card = *network.card;
  const nn::Model& model = *nn::as_model(*network.module);
  const NamedTensors jet = empty_jet(card, network.in_double ? at::kDouble : at::kFloat);
  for (const std::string& name : model.input_names())
    if (!jet.contains(name))
      throw CheckpointError(
          fmt::format("{}: its network reads '{}', which its card does not make: they do not belong together",
                      network.origin, name));
  const NamedTensors outputs = nn::as_model(*network.module)->forward(jet);
  const at::Tensor* logits = outputs.find("logits");
  if (!logits || logits->dim() != 2 || logits->size(1) != std::ssize(network.classes))
    throw CheckpointError(fmt::format(
        "{}: a network of the classes {} must give \"logits\" [1, {}] for a jet, this one gives {}",
        network.origin, fmt::join(network.classes, ","), network.classes.size(),
        logits ? fmt::format("[{}]", fmt::join(logits->sizes(), ", ")) : "none"));
  for (const features::TargetSpec& target : card.targets)
    for (const std::string& name : {target.name, models::width_output(target.name)})
      if (outputs.contains(name)) network.estimates.push_back(name);
  require_targets(network);
}

}  // namespace

LoadedNetwork load_network(const std::filesystem::path& folder) {
  const weights::Bundle bundle = weights::read_bundle(folder);
  LoadedNetwork network;
  network.origin = folder.string();
  network.hash = bundle.hash;
  network.ranges = detail::read_ranges(bundle.metadata, network.origin);
  network.module = build(bundle, network.origin);
  network.card = read_card(bundle, network.origin);
  network.in_double = std::any_of(bundle.weights.begin(), bundle.weights.end(), [](const auto& entry) {
    return entry.tensor.scalar_type() == at::kDouble;
  });
  if (network.in_double) network.module->to(at::kDouble);
  weights::load_into(*network.module, bundle.weights, network.origin);
  network.module->eval();
  for (at::Tensor& parameter : network.module->parameters()) parameter.set_requires_grad(false);
  network.classes = network.card ? class_names(*network.card) : bundle.classes;
  if (!network.card) return network;
  if (!bundle.classes.empty() && bundle.classes != network.classes)
    throw CheckpointError(fmt::format(
        "{} was trained on the classes {}, its card says {}: they do not belong together; write the bundle again from "
        "its run",
        network.origin, fmt::join(bundle.classes, ","), fmt::join(network.classes, ",")));
  require_outputs(network);
  return network;
}

}  // namespace bunchtrain::infer
