// SPDX-License-Identifier: Apache-2.0
#include "loaded_particle_net.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "../raw_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"

namespace bunchtrain::infer::detail {
namespace {

models::ParticleNetOptions read_options(const weights::BundleContent& bundle, const std::string& origin) {
  const auto description = models::ModelDescription::parse(bundle.model);
  if (bundle.model.empty() ||
      (description.name() != "particlenet" && description.name() != "particlenet-lite"))
    throw CheckpointError(fmt::format(
        "{} is of the network '{}': the fast engine knows particlenet and particlenet-lite; take infer::Predictor",
        origin, description.name()));
  models::ParticleNetOptions options = models::ParticleNetOptions::from(description);
  description.require_known_fields();
  options.validate();
  return options;
}

std::size_t place_of(const features::Card& card, const char* name, const std::string& origin) {
  for (std::size_t i = 0; i < card.inputs.size(); ++i)
    if (card.inputs[i].first == name) return i;
  throw CheckpointError(fmt::format(
      "{}: its network reads '{}', which its card does not make: they do not belong together", origin, name));
}

std::vector<std::string> class_names(const features::Card& card) {
  std::vector<std::string> names;
  for (const features::ClassSpec& spec : card.classes) names.push_back(spec.name);
  return names;
}

void require_fit(const LoadedParticleNet& loaded) {
  const auto refuse = [&](const std::string& why) {
    throw CheckpointError(fmt::format("{}: {}: they do not belong together", loaded.origin, why));
  };
  const models::ParticleNetOptions& options = loaded.network.options;
  const features::Card& card = loaded.card;
  if (!loaded.content.classes.empty() && loaded.content.classes != loaded.classes)
    refuse(fmt::format("it was trained on the classes {}, its card says {}",
                       fmt::join(loaded.content.classes, ","), fmt::join(loaded.classes, ",")));
  if (std::ssize(loaded.classes) != options.num_classes)
    refuse(
        fmt::format("its network has {} classes, its card {}", options.num_classes, loaded.classes.size()));
  if (const auto columns = std::ssize(card.inputs[loaded.places.features].second);
      columns != options.num_features)
    refuse(fmt::format("its network reads {} features, its card makes {}", options.num_features, columns));
  for (const models::EdgeConvSpec& block : options.blocks)
    if (block.k >= card.length)
      refuse(fmt::format("its network looks for {} neighbours of each particle, its card has only {} slots",
                         block.k, card.length));
  for (const models::RegressionHead& head : options.heads)
    if (std::ranges::find(card.targets, head.name, &features::TargetSpec::name) == card.targets.end())
      refuse(fmt::format("its network estimates '{}', which is no target of its card", head.name));
}

}  // namespace

LoadedParticleNet load_particle_net(const std::filesystem::path& bundle) {
  const std::string origin = bundle.string();
  weights::BundleContent content = weights::read_bundle_content(bundle);
  features::Card card = read_jet_card(content.card, origin);
  FoldedNetwork network = read_folded_network(read_options(content, origin), weights::bundle_weights(bundle));
  const InputPlaces places{place_of(card, "points", origin), place_of(card, "features", origin)};
  std::vector<std::string> classes = class_names(card);
  std::vector<std::string> outputs = classes;
  for (const models::RegressionHead& head : network.options.heads) {
    outputs.push_back(head.name);
    if (head.own_width) outputs.push_back(models::width_output(head.name));
  }
  LoadedParticleNet loaded{.origin = origin,
                           .content = std::move(content),
                           .card = std::move(card),
                           .network = std::move(network),
                           .places = places,
                           .classes = std::move(classes),
                           .outputs = std::move(outputs)};
  require_fit(loaded);
  return loaded;
}

}  // namespace bunchtrain::infer::detail
