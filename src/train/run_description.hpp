// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The text of run.json and the lines printed before the first step.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/train/observer.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "training_plan.hpp"

namespace bunchtrain::train {

/// What belongs to this process of a run, which may be the second or third one.
struct RunSession {
  std::string samples;          ///< what a sample is called
  std::int64_t first_step = 0;  ///< > 0 for a resumed run
  std::string before;           ///< run.json of a resumed run; its list of sessions is continued
};

/// Learning rates must stand at their peak. A damaged `before` counts as none.
RunDescription describe_run(const Session& session, const TrainingPlan& plan,
                            std::span<const TrainedNetwork> networks, const data::Dataset& train,
                            const data::Dataset* valid, const std::map<std::string, std::string>& metadata,
                            const RunSession& run);

/// run.json with how the run went: "finished" with epochs, steps and, if it ended before its last epoch, why.
std::string with_outcome(const std::string& json, const FitResult& result);

}  // namespace bunchtrain::train
