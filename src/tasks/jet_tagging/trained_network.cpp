// SPDX-License-Identifier: Apache-2.0
#include "trained_network.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/train/detail/averaged_weights.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "score_file.hpp"

namespace bunchtrain::jet_tagging {
namespace {

constexpr const char* kHowToEvaluate =
    "evaluate it with the program that trained it: jet_tagging::evaluate(session, options, make_network) there, as in "
    "examples/custom_model, or models::register_model(name, factory) and a module whose nn::Model::description() "
    "names it";

const std::string* find(const checkpoint::Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

/// Its card would be refused too, but with words about cards.
void require_jets(const checkpoint::SnapshotInfo& info) {
  const std::string* text = find(info.metadata, "model");
  if (!text || models::ModelDescription::parse(*text).name().rfind("3dgan", 0) != 0) return;
  throw CheckpointError(fmt::format("{} is of a 3DGAN, which scores no jets: compare its showers with {}",
                                    info.folder.string(),
                                    way_to(Advice::compare_showers, info.folder.string())));
}

/// What it says of itself, as a network that the registry knows.
std::shared_ptr<torch::nn::Module> from_description(const checkpoint::SnapshotInfo& info) {
  const std::string* text = find(info.metadata, "model");
  if (!text)
    throw CheckpointError(fmt::format("{} is of a network that does not say how it is built: {}",
                                      info.folder.string(), kHowToEvaluate));
  const auto known = models::names();
  const auto description = models::ModelDescription::parse(*text);
  if (std::ranges::find(known, description.name()) == known.end())
    throw CheckpointError(
        fmt::format("{} is of the network '{}', which this program cannot build (it knows {}): {}",
                    info.folder.string(), description.name(), fmt::join(known, ", "), kHowToEvaluate));
  return models::create(description);
}

/// What it estimates must be what its card knows.
void require_targets(const torch::nn::Module& module, const features::Card& card, const std::string& origin) {
  const auto* network = dynamic_cast<const models::ParticleNetImpl*>(&module);
  if (!network) return;
  for (const models::RegressionHead& head : network->options().heads)
    if (std::ranges::find(card.targets, head.name, &features::TargetSpec::name) == card.targets.end())
      throw CheckpointError(fmt::format(
          "{} is of a network that estimates '{}', which is no target of its card: they do not belong together; "
          "write the bundle again from its run",
          origin, head.name));
}

/// The network of the program, which may be another one than was saved.
std::shared_ptr<torch::nn::Module> from_program(const checkpoint::SnapshotInfo& info,
                                                const features::Card& card, const MakeNetwork& make) {
  auto module = make(card);
  expects(module && nn::as_model(*module),
          "a network to evaluate must be an nn::Model: derive the module from bunchtrain::nn::Model beside "
          "torch::nn::Module");
  const std::string* saved = find(info.metadata, "model");
  const std::string made = nn::describe(*module);
  if (!saved || made.empty()) return module;
  const auto name_of = [](const std::string& text) { return models::ModelDescription::parse(text).name(); };
  if (name_of(*saved) != name_of(made))
    throw CheckpointError(
        fmt::format("{} is of the network '{}', this program makes '{}': evaluate it with the "
                    "program that trained it",
                    info.folder.string(), name_of(*saved), name_of(made)));
  return module;
}

features::Card card_of(const SavedWeights& saved) {
  const std::string* text = find(saved.info.metadata, "card");
  if (!text)
    throw CheckpointError(
        fmt::format("{} does not say the data card of its run: it was trained on data in memory, or saved "
                    "without metadata {{\"card\", train->summary().card}}",
                    saved.info.folder.string()));
  features::Card card = features::parse_card(*text, saved.info.folder.string());
  if (const auto classes = class_names(card); !saved.classes.empty() && saved.classes != classes)
    throw CheckpointError(fmt::format(
        "{} was trained on the classes {}, its card says {}: they do not belong together; write the "
        "bundle again from its run",
        saved.info.folder.string(), fmt::join(saved.classes, ","), fmt::join(classes, ",")));
  return card;
}

NamedTensors weights_of(const checkpoint::Snapshot& snapshot, const std::string& network) {
  const std::string component = network.empty() ? "model" : network + "-model";
  const auto found = snapshot.components.find(component);
  if (found != snapshot.components.end()) return found->second.tensors;
  std::vector<std::string> present;
  for (const auto& [name, state] : snapshot.components) present.push_back(name);
  throw CheckpointError(
      fmt::format("the snapshot {} holds no '{}' but {}: name the network of the Trainer, "
                  "jet_tagging::evaluate(session, options, make, NETWORK)",
                  snapshot.info.folder.string(), component, fmt::join(present, ", ")));
}

bool holds_doubles(const NamedTensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const auto& entry) { return entry.tensor.scalar_type() == at::kDouble; });
}

std::int64_t number_in(const checkpoint::Metadata& metadata, const std::string& key) {
  const std::string* text = find(metadata, key);
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

SavedWeights read_bundle(const std::filesystem::path& path) {
  weights::Bundle bundle = weights::read_bundle(path);
  SavedWeights saved{.info = {.folder = path, .metadata = std::move(bundle.metadata), .hash = bundle.hash},
                     .classes = std::move(bundle.classes),
                     .tensors = std::move(bundle.weights)};
  if (!bundle.model.empty()) saved.info.metadata["model"] = bundle.model;
  if (!bundle.card.empty()) saved.info.metadata["card"] = bundle.card;
  saved.info.step = number_in(saved.info.metadata, "step");
  return saved;
}

SavedWeights read_run(const train::Session& session, const WeightSource& source) {
  const auto folder = train::RunFolder::existing(source.path);
  const checkpoint::Store store(folder.checkpoints(), session.agreement(), {.logger = session.logger()});
  const auto snapshot = load_snapshot(store, source.snapshot);
  if (!snapshot)
    throw CheckpointError(fmt::format("{} has no snapshot yet: let the training finish an epoch first",
                                      folder.checkpoints().string()));
  require_jets(snapshot->info);
  SavedWeights saved{.info = snapshot->info, .classes = {}, .tensors = weights_of(*snapshot, source.network)};
  saved.averaged = source.averaged && snapshot->info.metadata.contains(train::kAverageKey);
  if (saved.averaged)
    saved.tensors = train::averaged_weights(store, snapshot->info, saved.tensors, source.network);
  return saved;
}

}  // namespace

SavedWeights read_weights(const train::Session& session, const WeightSource& source) {
  if (!weights::is_bundle(source.path)) return read_run(session, source);
  SavedWeights saved;
  session.control().together([&] {
    saved = read_bundle(source.path);
    require_jets(saved.info);
  });
  return saved;
}

TrainedNetwork load_network(train::Session& session, const WeightSource& source, const MakeNetwork& make) {
  const SavedWeights saved = read_weights(session, source);
  TrainedNetwork trained{.module = {},
                         .card = card_of(saved),
                         .info = saved.info,
                         .epoch = number_in(saved.info.metadata, "epoch")};
  trained.module = make ? from_program(saved.info, trained.card, make) : from_description(saved.info);
  torch::nn::Module& module = *trained.module;
  require_targets(module, trained.card, saved.info.folder.string());
  trained.in_double = holds_doubles(saved.tensors);
  trained.averaged = saved.averaged;
  if (trained.in_double) module.to(at::kDouble);
  weights::load_into(module, saved.tensors, saved.info.folder.string());
  trained.heads = estimated_targets(module, trained.card, trained.in_double ? at::kDouble : at::kFloat);
  module.to(session.device());
  module.eval();
  return trained;
}

}  // namespace bunchtrain::jet_tagging
