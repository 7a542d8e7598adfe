// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From a snapshot and the plan of now to where the run goes on, and what is said about it.

#include <string>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/train/session.hpp"
#include "run_state.hpp"
#include "training_plan.hpp"

namespace bunchtrain::train {

struct Resumed {
  RunState state;
  RunLength length;  ///< the learning rate keeps to the plan of before unless `--reschedule`
  std::vector<std::string> remarks = {};  ///< what is not as before
};

/// Puts a snapshot back. @throws ConfigError naming all settings and data that differ, unless
/// `--allow-changed`; CheckpointError if it belongs to another kind of run.
Resumed resume_from(const checkpoint::Snapshot& snapshot, const TrainingPlan& plan, const Session& session,
                    const std::string& run_folder, std::span<const TrainedNetwork> networks,
                    data::DataLoader& loader);

}  // namespace bunchtrain::train
