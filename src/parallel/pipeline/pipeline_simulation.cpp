// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/pipeline_simulation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "playing.hpp"

namespace bunchtrain::parallel {
namespace {

/// Activations come with a forward and go with the gradient of the weights.
double held_after(const PipelineAction& action, double held, double bytes) {
  if (action.work == PipelineWork::forward) return held + bytes;
  return action.work == PipelineWork::input_gradient ? held : held - bytes;
}

std::vector<int> ranks_of_stages(const PipelineSchedule& schedule) {
  std::vector<int> ranks;
  for (int stage = 0; stage < schedule.stages; ++stage) ranks.push_back(schedule.rank_of(stage));
  return ranks;
}

[[noreturn]] void refuse_deadlock(const PipelineSchedule& schedule, const std::vector<std::size_t>& done) {
  std::vector<std::string> waiting;
  for (std::size_t rank = 0; rank < done.size(); ++rank)
    if (done[rank] < schedule.ranks[rank].size())
      waiting.push_back(fmt::format("rank {} before {}", rank, describe(schedule.ranks[rank][done[rank]])));
  throw ConfigError(
      fmt::format("schedule {}: ranks wait for each other for ever: {}; put what they wait for first",
                  schedule.name, fmt::join(waiting, ", ")));
}

}  // namespace

double RankSimulation::bubble() const noexcept {
  return events.empty() ? 0 : events.back().end - events.front().begin - busy;
}

double PipelineSimulation::largest_bubble() const noexcept {
  double largest = 0;
  for (const RankSimulation& rank : ranks) largest = std::max(largest, rank.bubble());
  return largest;
}

double PipelineSimulation::peak_activation_bytes() const noexcept {
  double peak = 0;
  for (const RankSimulation& rank : ranks) peak = std::max(peak, rank.peak_activation_bytes);
  return peak;
}

PipelineSimulation simulate(const PipelineSchedule& schedule, const PipelineCosts& costs) {
  schedule.validate();
  Playing playing(ranks_of_stages(schedule), schedule.microbatches, costs);
  PipelineSimulation simulation;
  simulation.ranks.resize(schedule.ranks.size());
  std::vector<std::size_t> done(schedule.ranks.size(), 0);
  std::vector<double> held(schedule.ranks.size(), 0), free(schedule.ranks.size(), 0);
  // Each action's time follows from those before it alone: in which order ranks are looked at does not matter.
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t rank = 0; rank < done.size(); ++rank) {
      RankSimulation& seen = simulation.ranks[rank];
      for (const auto& actions = schedule.ranks[rank]; done[rank] < actions.size(); ++done[rank]) {
        const PipelineAction& action = actions[done[rank]];
        const double ready = playing.ready(action);
        if (ready == Playing::kNever) break;
        const double begin = std::max(ready, free[rank]);
        free[rank] = playing.play(action, begin);
        seen.events.push_back({.action = action, .begin = begin, .end = free[rank]});
        seen.busy += playing.duration(action);
        held[rank] = held_after(action, held[rank], playing.activation_bytes(action.stage));
        seen.peak_activation_bytes = std::max(seen.peak_activation_bytes, held[rank]);
        moved = true;
      }
      simulation.duration = std::max(simulation.duration, free[rank]);
    }
  }
  for (std::size_t rank = 0; rank < done.size(); ++rank)
    if (done[rank] < schedule.ranks[rank].size()) refuse_deadlock(schedule, done);
  return simulation;
}

}  // namespace bunchtrain::parallel
