// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is done in a step so far, for whoever plays a schedule or makes one by playing.

#include <vector>

#include "bunchtrain/parallel/pipeline_simulation.hpp"

namespace bunchtrain::parallel {

/// Ends of actions, and from when on others can be done.
class Playing {
 public:
  static constexpr double kNever = 1e300;

  /// @param rank_of by stage. @throws ConfigError for costs of another number of stages
  Playing(std::vector<int> rank_of, int microbatches, const PipelineCosts& costs);

  /// When all that the action needs is there; `kNever` if not all of it has been played yet.
  double ready(const PipelineAction& action) const;
  double duration(const PipelineAction& action) const;
  /// Plays it from `begin` on; its end.
  double play(const PipelineAction& action, double begin);
  double activation_bytes(int stage) const {
    return costs_[static_cast<std::size_t>(stage)].activation_bytes;
  }

 private:
  std::size_t place(int stage, int microbatch) const;
  double arrival(const std::vector<double>& ends, int from, int to, int microbatch) const;

  std::vector<int> rank_of_;
  int microbatches_;
  std::vector<StageCosts> costs_;
  double transfer_;
  std::vector<double> forward_, input_gradient_;  ///< ends, by stage and microbatch
};

/// Actions that nobody waits for until they end: their order on a rank is free behind their input gradient.
inline bool is_weight_gradient(const PipelineAction& action) {
  return action.work == PipelineWork::weight_gradient;
}

}  // namespace bunchtrain::parallel
