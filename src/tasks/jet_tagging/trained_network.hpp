// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A network with the weights of a run's snapshot or of a bundle, ready to be applied.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"
#include "bunchtrain/train/session.hpp"
#include "heads.hpp"

namespace bunchtrain::jet_tagging {

struct TrainedNetwork {
  std::shared_ptr<torch::nn::Module> module;  ///< an `nn::Model`
  features::Card card;
  checkpoint::SnapshotInfo info;            ///< of a bundle: its folder, metadata, step and hash
  std::vector<EstimatedTarget> heads = {};  ///< the card's targets that it estimates beside the classes
  bool in_double = false;
  bool averaged = false;   ///< its weights are the averages of a run with `--ema`
  std::int64_t epoch = 0;  ///< epochs done; 0 if not known
};

/// Which weights: `path` is a run folder, of which `snapshot` ("best", "latest", "step-N") is taken, or a
/// bundle.
struct WeightSource {
  std::filesystem::path path;
  std::string snapshot = "best";
  std::string network = {};  ///< of several, as the Trainer called it
  bool averaged = true;      ///< the averages of a run that has them
};

/// Weights as they were saved, with what was said of them.
struct SavedWeights {
  checkpoint::SnapshotInfo info;          ///< its metadata hold "model" and "card" if they are known
  std::vector<std::string> classes = {};  ///< where they are said beside the card
  NamedTensors tensors;
  bool averaged = false;
};

/// Collective. @throws CheckpointError on all ranks, naming what is missing, damaged or newer.
SavedWeights read_weights(const train::Session& session, const WeightSource& source);

/// Collective. @param make may be empty: the snapshot or bundle says how.
/// @throws CheckpointError with the ways to evaluate a network that this program cannot build, or for a
/// bundle of another model, card or order of classes; ConfigError if the network is no `nn::Model`.
TrainedNetwork load_network(train::Session& session, const WeightSource& source, const MakeNetwork& make);

}  // namespace bunchtrain::jet_tagging
