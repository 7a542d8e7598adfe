// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Plays a pipeline schedule before it runs: when everything happens, how long ranks idle, what they hold.

#include <vector>

#include "bunchtrain/parallel/pipeline_costs.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"

namespace bunchtrain::parallel {

/// An action with its time, from the step's beginning on.
struct PipelineEvent {
  PipelineAction action;
  double begin = 0, end = 0;
};

/// What a rank does in a step.
struct RankSimulation {
  std::vector<PipelineEvent> events;
  double busy = 0;
  double peak_activation_bytes = 0;

  /// Gaps between its first and its last action.
  double bubble() const noexcept;
};

struct PipelineSimulation {
  std::vector<RankSimulation> ranks;
  double duration = 0;  ///< from the first action of any rank to the last

  double largest_bubble() const noexcept;
  double peak_activation_bytes() const noexcept;  ///< of the rank that holds most
};

/// Each rank does its actions in order, each as soon as what it needs is there. Sends wait for nobody.
/// @throws ConfigError if ranks wait for each other for ever: names each and what it waits for; for costs of another
/// number of stages; as `PipelineSchedule::validate`.
PipelineSimulation simulate(const PipelineSchedule& schedule, const PipelineCosts& costs = {});

}  // namespace bunchtrain::parallel
