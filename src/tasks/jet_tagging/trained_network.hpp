// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A network with the weights of a run's snapshot, ready to be applied.

#include <string>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::jet_tagging {

struct TrainedNetwork {
  EvaluatedNetwork network;
  features::Card card;
  checkpoint::SnapshotInfo info;
  bool in_double = false;
  bool averaged = false;   ///< its weights are the averages of a run with `--ema`
  std::int64_t epoch = 0;  ///< epochs done; 0 if not known
};

/// Collective. @param which "best", "latest" or "step-N". @param make may be empty: the snapshot says how.
/// @throws CheckpointError with the ways to evaluate a network that this program cannot build.
TrainedNetwork load_network(train::Session& session, const train::RunFolder& folder, const std::string& which,
                            const MakeNetwork& make);

}  // namespace bunchtrain::jet_tagging
