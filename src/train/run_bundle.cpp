// SPDX-License-Identifier: Apache-2.0
#include "run_bundle.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/features/raw_ranges.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/train/detail/trained_on.hpp"

namespace bunchtrain::train {
namespace {

/// What the bundle holds in a place of its own.
constexpr const char* kModel = "model";
constexpr const char* kCard = "card";

std::map<std::string, std::string> describe(const TrainingRecord& record) {
  std::map<std::string, std::string> metadata = record.metadata;
  metadata.erase(kModel);
  metadata.erase(kCard);
  const BuildInfo build = build_info();
  metadata["bunchtrain"] = build.version;
  metadata["commit"] = build.git_commit;
  metadata["step"] = fmt::format("{}", record.step);
  metadata["epoch"] = fmt::format("{}", record.epoch);
  if (record.score) metadata["score"] = fmt::format("{} {}", record.score_name, *record.score);
  if (!record.snapshot.empty()) metadata["snapshot"] = record.snapshot.filename().string();
  if (std::string trained_on = to_text(record.data); !trained_on.empty())
    metadata[kTrainedOnKey] = std::move(trained_on);
  if (!record.data.ranges.columns.empty())
    metadata[features::kRangesKey] = features::to_text(record.data.ranges);
  return metadata;
}

}  // namespace

weights::Bundle make_bundle(const BundledNetwork& network, const TrainingRecord& record) {
  weights::Bundle bundle{.weights = network.weights,
                         .model = network.description,
                         .card = record.data.card,
                         .classes = record.data.classes,
                         .metadata = describe(record)};
  const auto named = record.metadata.find(kModel);
  if (bundle.model.empty() && named != record.metadata.end()) bundle.model = named->second;
  return bundle;
}

void write_run_bundles(Session& session, std::span<const BundledNetwork> networks,
                       const TrainingRecord& record) {
  const RunFolder& folder = session.run_folder();
  const auto phase = session.control().in_phase("writing the bundle", mpi::Waits::for_disk);
  session.control().together([&] {
    if (!session.is_root()) return;
    const bool alone = networks.size() == 1;
    for (const BundledNetwork& network : networks) {
      if (!alone && network.description.empty()) continue;
      weights::Bundle bundle = make_bundle(network, record);
      bundle.metadata["run"] = folder.path().string();
      weights::write_bundle(folder.bundle(alone ? "" : network.name), bundle);
    }
  });
}

}  // namespace bunchtrain::train
