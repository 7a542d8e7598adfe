// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The bundles that a run leaves: its best weights with all that it takes to use them.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/weights/bundle.hpp"

namespace bunchtrain::train {

/// A network under the name that the Trainer has for it.
struct BundledNetwork {
  std::string name;
  std::string description;  ///< `nn::describe`
  NamedTensors weights;     ///< of the whole network, on rank 0
};

/// What a bundle says of the training beside the network itself.
struct TrainingRecord {
  const data::DatasetSummary& data;  ///< of the training data: card, classes, files
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::string score_name = {};          ///< "valid_auc"
  std::optional<double> score = {};     ///< of these weights
  std::filesystem::path snapshot = {};  ///< with the same weights
  std::map<std::string, std::string> metadata =
      {};  ///< of the Trainer; "model" where a network does not say itself
};

/// Weights are shared, not copied.
weights::Bundle make_bundle(const BundledNetwork& network, const TrainingRecord& record);

/// Collective. Replaces RUN/bundle by the only network of a run, or RUN/bundle-NAME by each of several that
/// says how it is built. Rank 0 writes; buffers must be combined over ranks (`Engine::synchronize_buffers`).
/// @throws CheckpointError, IoError on all ranks.
void write_run_bundles(Session& session, std::span<const BundledNetwork> networks,
                       const TrainingRecord& record);

}  // namespace bunchtrain::train
