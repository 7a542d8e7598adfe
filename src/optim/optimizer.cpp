// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/optimizer.hpp"

#include <ATen/ops/linalg_vector_norm.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "arena_state.hpp"
#include "bunchtrain/core/error.hpp"
#include "flat_update.hpp"

namespace bunchtrain::optim {

namespace {

bool matches(const ParameterGroup& group, const std::string& name) {
  return fnmatch(group.pattern.c_str(), name.c_str(), 0) == 0;
}

double sum_of_squares(const at::Tensor& flat) {
  if (!flat.is_cpu()) {
    const double norm = at::linalg_vector_norm(flat, 2, std::nullopt, false, at::kDouble).item<double>();
    return norm * norm;
  }
  return flat.scalar_type() == at::kDouble
             ? sum_of_squares_on_cpu(flat.const_data_ptr<double>(), flat.numel())
             : sum_of_squares_on_cpu(flat.const_data_ptr<float>(), flat.numel());
}

double gradient_norm(const device::ParameterArenas& arenas) {
  double sum = 0;
  for (const auto& arena : arenas) sum += sum_of_squares(arena.gradients());
  return std::sqrt(sum);
}

}  // namespace

Optimizer::Optimizer(device::ParameterArenas& arenas, std::string kind, double learning_rate,
                     double weight_decay)
    : arenas_(&arenas), kind_(std::move(kind)), learning_rate_(learning_rate), weight_decay_(weight_decay) {
  for (const auto& arena : arenas) {
    const at::ScalarType dtype = arena.values().scalar_type();
    if (dtype != at::kFloat && dtype != at::kDouble) {
      throw ConfigError(
          "dtype of parameter " + arena.segments().front().name, at::toString(dtype),
          "float32 and float64; keep the parameters in float32 and train with precision bfloat16");
    }
  }
}

StepReport Optimizer::step(const StepOptions& options) {
  expects(options.clip_norm >= 0, "clip_norm must not be negative");
  for (auto& arena : *arenas_) arena.end_pass();

  StepReport report;
  double scale = options.gradient_scale;
  if (options.clip_norm > 0 || options.check_finite) {
    report.gradient_norm = std::abs(scale) * gradient_norm(*arenas_);
    if (options.check_finite && !std::isfinite(report.gradient_norm)) {
      report.applied = false;
      return report;
    }
    if (options.clip_norm > 0 && report.gradient_norm > options.clip_norm) {
      scale *= options.clip_norm / report.gradient_norm;
    }
  }
  ++steps_;
  for (const UpdateRange& range : make_ranges()) update(range, scale, steps_);
  for (auto& arena : *arenas_) arena.bump_versions();
  return report;
}

std::vector<at::Tensor>& Optimizer::add_state(std::string name) {
  auto state = std::make_unique<State>();
  state->name = std::move(name);
  for (const auto& arena : *arenas_) state->flat.push_back(arena.make_like());
  states_.push_back(std::move(state));
  return states_.back()->flat;
}

void Optimizer::set_groups(std::vector<ParameterGroup> groups) {
  for (const ParameterGroup& group : groups) {
    const bool used = std::ranges::any_of(*arenas_, [&](const auto& arena) {
      return std::ranges::any_of(arena.segments(),
                                 [&](const auto& segment) { return matches(group, segment.name); });
    });
    if (!used)
      throw ConfigError("parameter group", group.pattern, "a pattern that matches the name of a parameter");
  }
  groups_ = std::move(groups);
}

UpdateRange Optimizer::hyper_parameters_of(std::size_t arena, const device::ArenaSegment& segment) const {
  UpdateRange range{arena, segment.offset, segment.offset, learning_rate_, weight_decay_};
  const auto group =
      std::ranges::find_if(groups_, [&](const auto& candidate) { return matches(candidate, segment.name); });
  if (group != groups_.end()) {
    range.learning_rate *= group->learning_rate_factor;
    range.weight_decay = group->weight_decay.value_or(weight_decay_);
  }
  return range;
}

// Neighbours with equal hyper-parameters are updated together: without groups and frozen parameters, that is
// the whole arena.
std::vector<UpdateRange> Optimizer::make_ranges(std::size_t arena) const {
  const auto segments = (*arenas_)[arena].segments();
  const std::int64_t arena_end = (*arenas_)[arena].values().numel();
  std::vector<UpdateRange> ranges;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (!segments[i].requires_grad) continue;
    UpdateRange range = hyper_parameters_of(arena, segments[i]);
    range.end = i + 1 < segments.size() ? segments[i + 1].offset : arena_end;
    if (!ranges.empty() && ranges.back().end == range.begin &&
        ranges.back().learning_rate == range.learning_rate &&
        ranges.back().weight_decay == range.weight_decay) {
      ranges.back().end = range.end;
    } else {
      ranges.push_back(range);
    }
  }
  return ranges;
}

std::vector<UpdateRange> Optimizer::make_ranges() const {
  std::vector<UpdateRange> ranges;
  for (std::size_t arena = 0; arena < arenas_->size(); ++arena) {
    const std::vector<UpdateRange> more = make_ranges(arena);
    ranges.insert(ranges.end(), more.begin(), more.end());
  }
  return ranges;
}

StateDict Optimizer::state() const {
  StateDict result;
  result.set("kind", kind_);
  result.set("steps", steps_);
  result.set("learning_rate", learning_rate_);
  for (const auto& state : states_) add_views(result, state->name, *arenas_, state->flat);
  return result;
}

void Optimizer::load(const StateDict& state) {
  if (state.text("kind") != kind_) {
    throw CheckpointError("the state is that of " + state.text("kind") + ", this optimizer is " + kind_ +
                          "; choose the same one or start without its state");
  }
  const std::int64_t steps = state.integer("steps");
  const double learning_rate = state.real("learning_rate");
  for (const auto& own : states_) require_views(state, own->name, *arenas_);
  for (const auto& own : states_) copy_views(state, own->name, *arenas_, own->flat);
  steps_ = steps;
  learning_rate_ = learning_rate;
}

}  // namespace bunchtrain::optim
