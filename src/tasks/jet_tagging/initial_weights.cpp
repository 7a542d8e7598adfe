// SPDX-License-Identifier: Apache-2.0
#include "initial_weights.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "heads.hpp"
#include "score_file.hpp"
#include "trained_network.hpp"

namespace bunchtrain::jet_tagging {
namespace {

using weights::LoadMode;

std::string partial_load() { return setting("init_mode", "partial"); }

/// The same names in another order would be learned anew without a word.
void require_classes(const SavedWeights& saved, const std::vector<std::string>& classes, LoadMode mode,
                     const train::Session& session) {
  const std::string origin = saved.info.folder.string();
  if (saved.classes.empty() || saved.classes == classes) return;
  const std::string names = fmt::format("{}", fmt::join(saved.classes, ","));
  if (std::ranges::is_permutation(saved.classes, classes))
    weights::check_classes({.tensors = {}, .metadata = {{"classes", names}}}, classes, origin);
  const std::string difference = fmt::format("{} was trained on the classes {}, the data have {}", origin,
                                             names, fmt::join(classes, ","));
  if (mode == LoadMode::strict)
    throw CheckpointError(difference + ": take what fits by a partial load (" + partial_load() + ")");
  session.logger().warning(difference + ": the output layer will have to learn them");
}

/// What the first layer reads must be what it learned to read.
void require_inputs(const SavedWeights& saved, const features::Card& card, LoadMode mode,
                    const train::Session& session) {
  const auto text = saved.info.metadata.find("card");
  if (text == saved.info.metadata.end()) return;
  const std::string origin = saved.info.folder.string();
  const features::Card theirs = features::parse_card(text->second, origin);
  for (const auto& [tensor, columns] : card.inputs) {
    const auto found =
        std::ranges::find(theirs.inputs, tensor, [](const auto& input) { return input.first; });
    if (found != theirs.inputs.end() && found->second == columns) continue;
    const std::string difference =
        fmt::format("{} was trained on other '{}' than card {} makes", origin, tensor, card.name);
    if (mode == LoadMode::strict)
      throw CheckpointError(difference + ": give the card of that run, or accept it by a partial load (" +
                            partial_load() + ")");
    session.logger().warning(difference + ": its first layers will have to learn them");
  }
}

/// An estimate of another quantity under the same name would be learned anew without a word.
void require_targets(const SavedWeights& saved, const features::Card& card, const ClassifierOptions& chosen,
                     const train::Session& session) {
  const auto text = saved.info.metadata.find("card");
  if (text == saved.info.metadata.end()) return;
  const std::string origin = saved.info.folder.string();
  const features::Card theirs = features::parse_card(text->second, origin);
  for (const HeadChoice& head : chosen.heads) {
    const std::string& expression = card.target(head.target).expression;
    const auto found = std::ranges::find(theirs.targets, head.target, &features::TargetSpec::name);
    if (found == theirs.targets.end() || found->expression == expression) continue;
    const std::string difference = fmt::format("{} knows the target '{}' as \"{}\", card {} as \"{}\"",
                                               origin, head.target, found->expression, card.name, expression);
    if (chosen.init_mode == LoadMode::strict)
      throw CheckpointError(difference + ": take the same, or accept it by a partial load (" +
                            partial_load() + ")");
    session.logger().warning(difference + ": its head will have to learn it");
  }
}

SavedWeights read_file(const std::string& path) {
  weights::SafeTensors file = weights::read_safetensors(path);
  SavedWeights saved;
  saved.info.folder = path;
  saved.tensors = std::move(file.tensors);
  if (const auto found = file.metadata.find("classes"); found != file.metadata.end())
    saved.classes = weights::split_classes(found->second);
  return saved;
}

/// Collective.
SavedWeights read_any(const train::Session& session, const std::string& path) {
  if (std::filesystem::is_directory(path)) return read_weights(session, {.path = path});
  SavedWeights saved;
  session.control().together([&] { saved = read_file(path); });
  return saved;
}

void load(const train::Session& session, const ClassifierOptions& chosen, torch::nn::Module& module,
          const features::Card& card) {
  const std::string& path = chosen.init;
  const weights::LoadOptions options{.mode = chosen.init_mode, .renames = chosen.init_renames};
  SavedWeights saved = read_any(session, path);
  require_inputs(saved, card, options.mode, session);
  require_targets(saved, card, chosen, session);
  if (saved.classes.empty())
    if (const auto text = saved.info.metadata.find("card"); text != saved.info.metadata.end())
      saved.classes = class_names(features::parse_card(text->second, path));
  require_classes(saved, class_names(card), options.mode, session);
  const weights::LoadReport report = weights::load_into(module, saved.tensors, path, options);
  session.logger().info(fmt::format("weights of {}: {}", path, report.describe()));
}

}  // namespace

void prepare_weights(const train::Session& session, const ClassifierOptions& options,
                     torch::nn::Module& module, const features::Card& card) {
  for (const char* name : {"init", "weights", "init-mode", "init-rename", "freeze"}) session.use(name);
  if (!options.init.empty()) load(session, options, module, card);
  if (options.freeze.empty()) return;
  const auto frozen = weights::freeze(module, options.freeze);
  session.logger().info(fmt::format("frozen: {} of {} parameters ({})", frozen.size(),
                                    module.parameters().size(), fmt::join(frozen, ", ")));
}

}  // namespace bunchtrain::jet_tagging
