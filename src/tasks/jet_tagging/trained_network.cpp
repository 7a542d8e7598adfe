// SPDX-License-Identifier: Apache-2.0
#include "trained_network.hpp"

#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/train/detail/averaged_weights.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::jet_tagging {
namespace {

constexpr const char* kHowToEvaluate =
    "evaluate it with the program that trained it: jet_tagging::evaluate(session, make_network) there, as in "
    "examples/custom_model, or models::register_model(name, factory) and a module that says "
    "models::describe(name, ...) (nn::DescribedModule)";

const std::string* find(const checkpoint::Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

/// Its card would be refused too, but with words about cards.
void require_jets(const checkpoint::SnapshotInfo& info) {
  const std::string* text = find(info.metadata, "model");
  if (!text || !text->starts_with("3dgan")) return;
  throw CheckpointError(
      fmt::format("{} is of a 3DGAN, which scores no jets: compare its showers with `bunchtrain validate "
                  "showers --reference FILE --candidate RUN`",
                  info.folder.string()));
}

/// What the snapshot says of itself, as a network that the registry knows.
EvaluatedNetwork from_description(const checkpoint::SnapshotInfo& info) {
  const std::string* text = find(info.metadata, "model");
  if (!text)
    throw CheckpointError(fmt::format("the snapshot {} is of a network that does not say how it is built: {}",
                                      info.folder.string(), kHowToEvaluate));
  const auto known = models::names();
  const std::string name = text->substr(0, text->find(' '));
  if (std::ranges::find(known, name) == known.end())
    throw CheckpointError(
        fmt::format("the snapshot {} is of the network '{}', which this program cannot "
                    "build (it knows {}): {}",
                    info.folder.string(), name, fmt::join(known, ", "), kHowToEvaluate));
  return {.module = models::create_from(*text)->module()};
}

features::Card card_of(const checkpoint::SnapshotInfo& info) {
  const std::string* text = find(info.metadata, "card");
  if (!text)
    throw CheckpointError(fmt::format(
        "the snapshot {} does not say the data card of its run: it was trained on data in memory, or saved "
        "without metadata {{\"card\", train->summary().card}}",
        info.folder.string()));
  return features::parse_card(*text, info.folder.string());
}

const StateDict& weights_of(const checkpoint::Snapshot& snapshot, const std::string& network) {
  const std::string component = network.empty() ? "model" : network + "-model";
  const auto found = snapshot.components.find(component);
  if (found != snapshot.components.end()) return found->second;
  std::vector<std::string> present;
  for (const auto& [name, state] : snapshot.components) present.push_back(name);
  throw CheckpointError(
      fmt::format("the snapshot {} holds no '{}' but {}: name the network of the Trainer "
                  "(EvaluatedNetwork::name)",
                  snapshot.info.folder.string(), component, fmt::join(present, ", ")));
}

bool holds_doubles(const NamedTensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const auto& entry) { return entry.tensor.scalar_type() == at::kDouble; });
}

std::int64_t epochs_done(const checkpoint::SnapshotInfo& info) {
  const std::string* text = find(info.metadata, "epoch");
  return text ? std::strtoll(text->c_str(), nullptr, 10) : 0;
}

/// Reads, and so verifies, no more than the network: a damaged optimizer does not matter here.
std::optional<checkpoint::Snapshot> load_snapshot(const checkpoint::Store& store, const std::string& which) {
  try {
    return store.load(which, {"model"});
  } catch (const CheckpointError&) {
    return store.load(which);  // of several networks, whose names are known later; throws if it is damaged
  }
}

}  // namespace

TrainedNetwork load_network(train::Session& session, const train::RunFolder& folder, const std::string& which,
                            const MakeNetwork& make) {
  const checkpoint::Store store(folder.checkpoints(), session.agreement(), {.logger = session.logger()});
  const auto snapshot = load_snapshot(store, which);
  if (!snapshot)
    throw CheckpointError(fmt::format("{} has no snapshot yet: let the training finish an epoch first",
                                      folder.checkpoints().string()));
  require_jets(snapshot->info);
  TrainedNetwork trained{.network = {},
                         .card = card_of(snapshot->info),
                         .info = snapshot->info,
                         .epoch = epochs_done(snapshot->info)};
  trained.network = make ? make(trained.card) : from_description(snapshot->info);
  expects(trained.network.module && nn::as_model(*trained.network.module),
          "a network to evaluate is a torch::nn::Module and an nn::Model");
  auto& module = *trained.network.module;
  NamedTensors weights = weights_of(*snapshot, trained.network.name).tensors;
  const bool wanted = session.options().get<std::string>("average") == "on";
  trained.averaged = wanted && snapshot->info.metadata.contains(train::kAverageKey);
  if (trained.averaged)
    weights = train::averaged_weights(store, snapshot->info, weights, trained.network.name);
  trained.in_double = holds_doubles(weights);
  if (trained.in_double) module.to(at::kDouble);
  weights::load_into(module, weights, snapshot->info.folder.string());
  module.to(session.device());
  module.eval();
  return trained;
}

}  // namespace bunchtrain::jet_tagging
