// SPDX-License-Identifier: Apache-2.0
#include "playing.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {

Playing::Playing(std::vector<int> rank_of, int microbatches, const PipelineCosts& costs)
    : rank_of_(std::move(rank_of)),
      microbatches_(microbatches),
      costs_(costs.stages),
      transfer_(costs.transfer) {
  if (costs_.empty()) costs_.resize(rank_of_.size());
  if (costs_.size() != rank_of_.size())
    throw ConfigError("costs of stages", std::to_string(costs_.size()),
                      "one for each of the " + std::to_string(rank_of_.size()) + " stages");
  forward_.assign(rank_of_.size() * static_cast<std::size_t>(microbatches), kNever);
  input_gradient_ = forward_;
}

std::size_t Playing::place(int stage, int microbatch) const {
  return static_cast<std::size_t>(stage) * static_cast<std::size_t>(microbatches_) +
         static_cast<std::size_t>(microbatch);
}

double Playing::arrival(const std::vector<double>& ends, int from, int to, int microbatch) const {
  const double end = ends[place(from, microbatch)];
  const bool travels = rank_of_[static_cast<std::size_t>(from)] != rank_of_[static_cast<std::size_t>(to)];
  return end < kNever && travels ? end + transfer_ : end;
}

double Playing::ready(const PipelineAction& action) const {
  const auto [work, stage, microbatch] = action;
  if (work == PipelineWork::forward) return stage == 0 ? 0 : arrival(forward_, stage - 1, stage, microbatch);
  if (is_weight_gradient(action)) return input_gradient_[place(stage, microbatch)];
  const double own = forward_[place(stage, microbatch)];
  const bool last = stage + 1 == static_cast<int>(rank_of_.size());
  return last ? own : std::max(own, arrival(input_gradient_, stage + 1, stage, microbatch));
}

double Playing::duration(const PipelineAction& action) const {
  const StageCosts& costs = costs_[static_cast<std::size_t>(action.stage)];
  switch (action.work) {
    case PipelineWork::forward:
      return costs.forward;
    case PipelineWork::backward:
      return costs.backward();
    case PipelineWork::input_gradient:
      return costs.input_gradient;
    case PipelineWork::weight_gradient:
      return costs.weight_gradient;
  }
  return 0;
}

double Playing::play(const PipelineAction& action, double begin) {
  const double end = begin + duration(action);
  if (action.work == PipelineWork::forward)
    forward_[place(action.stage, action.microbatch)] = end;
  else if (!is_weight_gradient(action))
    input_gradient_[place(action.stage, action.microbatch)] = end;
  return end;
}

}  // namespace bunchtrain::parallel
