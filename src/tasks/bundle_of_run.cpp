// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/bundle_of_run.hpp"

#include <fmt/format.h>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/shower_card.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/train/detail/averaged_weights.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "shower_simulation/shower_description.hpp"

namespace bunchtrain::tasks {
namespace {

/// The network of a run that programs want, as the Trainer has it: the only one, or the generator of a 3DGAN.
std::string component_of(const std::filesystem::path& checkpoints) {
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints))
    if (std::filesystem::exists(entry.path() / "generator-model.safetensors")) return "generator-model";
  return "model";
}

/// Takes an entry out of the metadata, which a bundle has in a place of its own.
std::string take(std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return {};
  std::string text = std::move(found->second);
  metadata.erase(found);
  return text;
}

std::vector<std::string> classes_of(const std::string& card, const std::string& origin) {
  std::vector<std::string> names;
  if (card.empty() || features::is_shower_card(card)) return names;
  for (const features::ClassSpec& spec : features::parse_card(card, origin).classes)
    names.push_back(spec.name);
  return names;
}

}  // namespace

weights::Bundle bundle_of_run(const std::filesystem::path& run, const std::string& which) {
  const auto folder = train::RunFolder::existing(run);
  const checkpoint::Store store(folder.checkpoints(),
                                comm::Communicator::create(mpi::Comm::self(), c10::kCPU));
  if (!std::filesystem::is_directory(folder.checkpoints()) || store.steps().empty())
    throw CheckpointError(fmt::format("{} has no snapshot yet: let the training finish an epoch first",
                                      folder.checkpoints().string()));
  const std::string component = component_of(folder.checkpoints());
  const bool generator = component != "model";
  const checkpoint::Snapshot snapshot = store.load(which, {component}).value();
  auto metadata = snapshot.info.metadata;
  std::string card = take(metadata, "card");
  if (generator)  // said of the whole 3DGAN there
    metadata = shower_simulation::to_metadata(
        shower_simulation::parse_shower_description(metadata, snapshot.info.folder.string()));
  weights::Bundle bundle{
      .weights = train::averaged_weights(store, snapshot.info, snapshot.components.at(component).tensors,
                                         generator ? "generator" : ""),
      .model = models::ModelDescription::parse(take(metadata, "model")).to_json(),
      .card = std::move(card),
      .metadata = std::move(metadata)};
  bundle.classes = classes_of(bundle.card, snapshot.info.folder.string());
  bundle.metadata["run"] = run.string();
  bundle.metadata["snapshot"] = snapshot.info.folder.filename().string();
  bundle.metadata["step"] = fmt::format("{}", snapshot.info.step);
  return bundle;
}

}  // namespace bunchtrain::tasks
