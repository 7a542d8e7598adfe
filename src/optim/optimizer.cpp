// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/optimizer.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <c10/core/DeviceGuard.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "arena_state.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
#include "flat_update.hpp"

namespace bunchtrain::optim {

namespace {

constexpr const char* kLossScale = "loss_scale";

LossScaleRule rule_of(const LossScaleOptions& options) {
  return {options.growth, options.backoff, static_cast<double>(options.interval)};
}

bool matches(const ParameterGroup& group, const std::string& name) {
  return fnmatch(group.pattern.c_str(), name.c_str(), 0) == 0;
}

at::Tensor norm_on_device(const at::Tensor& flat) {
  return at::linalg_vector_norm(flat, 2, std::nullopt, /*keepdim=*/false, at::kDouble);
}

double sum_of_squares(const at::Tensor& flat) {
  if (!flat.is_cpu()) {
    const double norm = device::LateCopy(norm_on_device(flat)).values().front();
    return norm * norm;
  }
  return flat.scalar_type() == at::kDouble
             ? sum_of_squares_on_cpu(flat.const_data_ptr<double>(), flat.numel())
             : sum_of_squares_on_cpu(flat.const_data_ptr<float>(), flat.numel());
}

double sum_of_squares(const tensor::ParameterArenas& arenas) {
  double sum = 0;
  for (const auto& arena : arenas) sum += sum_of_squares(arena.gradients());
  return sum;
}

bool on_one_gpu(const tensor::ParameterArenas& arenas) {
  if (arenas.empty()) return false;
  const c10::Device first = arenas.front().values().device();
  return first.is_cuda() &&
         std::ranges::all_of(arenas, [&](const auto& arena) { return arena.values().device() == first; });
}

LossScale* in_memory(const at::Tensor& loss_scale) {
  static_assert(sizeof(LossScale) == 2 * sizeof(double));
  return loss_scale.defined() ? reinterpret_cast<LossScale*>(loss_scale.mutable_data_ptr<double>()) : nullptr;
}

/// @throws ConfigError if there is more than one.
c10::Device device_of(const tensor::ParameterArenas& arenas) {
  expects(!arenas.empty(), "an optimizer without parameters has no gradients to scale");
  const c10::Device first = arenas.front().values().device();
  for (const auto& arena : arenas)
    if (const c10::Device other = arena.values().device(); other != first)
      throw ConfigError("devices of the parameters", first.str() + ", " + other.str(),
                        "one, where losses are scaled");
  return first;
}

/// Of `GradientScale::on_device`.
at::Tensor find_scale_on_device(const ScaleRule& rule, const tensor::ParameterArenas& arenas,
                                const at::Tensor& loss_scale) {
  const at::NoGradGuard no_grad;
  const c10::Device gpu = arenas.front().values().device();
  const c10::DeviceGuard guard(gpu);
  const auto count = static_cast<std::int64_t>(arenas.size());
  at::Tensor norms = at::empty({count}, at::TensorOptions(gpu).dtype(at::kDouble));
  for (std::int64_t i = 0; i < count; ++i)
    norms.select(0, i).copy_(norm_on_device(arenas[static_cast<std::size_t>(i)].gradients()));
  at::Tensor found = at::empty({2}, norms.options());
  static_assert(sizeof(ClipScale) == 2 * sizeof(double));
  find_scale_on_gpu(rule, norms.const_data_ptr<double>(), static_cast<int>(count), in_memory(loss_scale),
                    reinterpret_cast<ClipScale*>(found.mutable_data_ptr<double>()),
                    device::current_stream(gpu));
  return found;
}

}  // namespace

double StepReport::gradient_norm() const { return late_.empty() ? gradient_norm_ : late_.values()[1]; }
bool StepReport::applied() const { return late_.empty() ? applied_ : std::isfinite(late_.values()[0]); }

Optimizer::Optimizer(tensor::ParameterArenas& arenas, std::string kind, double learning_rate,
                     double weight_decay)
    : arenas_(&arenas), kind_(std::move(kind)), learning_rate_(learning_rate), weight_decay_(weight_decay) {
  for (const auto& arena : arenas) {
    const at::ScalarType dtype = arena.values().scalar_type();
    if (dtype != at::kFloat && dtype != at::kDouble) {
      throw ConfigError(
          "dtype of parameter " + arena.segments().front().name, at::toString(dtype),
          "float32 and float64; keep the parameters in float32 and train with precision bfloat16 or float16");
    }
  }
}

StepReport Optimizer::step(const StepOptions& options) {
  expects(options.clip_norm >= 0, "clip_norm must not be negative");
  for (auto& arena : *arenas_) arena.end_pass();
  steps_ = steps();  // the device came to the update before long ago
  unsettled_.reset();

  StepReport report;
  GradientScale scale{options.gradient_scale};
  const bool scales_losses = loss_scale_.defined();
  if (options.clip_norm > 0 || options.check_finite || scales_losses) {
    const ScaleRule rule{options.gradient_scale, options.clip_norm, options.check_finite,
                         rule_of(loss_scale_options_)};
    if (on_one_gpu(*arenas_)) {
      scale.on_device = find_scale_on_device(rule, *arenas_, loss_scale_);
      report = StepReport(device::LateCopy(scale.on_device));
      if (options.check_finite && !scales_losses) unsettled_ = report;
    } else {
      const ClipScale found = find_scale(rule, sum_of_squares(*arenas_), in_memory(loss_scale_));
      scale.value = found.scale;
      report = StepReport(found.norm, std::isfinite(found.scale));
      if (!report.applied() && !scales_losses) return report;
    }
  }
  ++steps_;
  for (const UpdateRange& range : make_ranges()) update(range, scale, steps_);
  for (auto& arena : *arenas_) arena.bump_versions();
  return report;
}

void Optimizer::scale_losses(const LossScaleOptions& options) {
  options.validate();
  loss_scale_options_ = options;
  if (!loss_scale_.defined())
    loss_scale_ = at::empty({2}, at::TensorOptions(device_of(*arenas_)).dtype(at::kDouble));
  loss_scale_.select(0, 0).fill_(options.initial);
  loss_scale_.select(0, 1).zero_();
}

at::Tensor Optimizer::loss_scale() const {
  return loss_scale_.defined() ? loss_scale_.select(0, 0) : at::Tensor();
}

std::int64_t Optimizer::steps() const { return steps_ - (unsettled_ && !unsettled_->applied() ? 1 : 0); }

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

UpdateRange Optimizer::hyper_parameters_of(std::size_t arena, const tensor::ArenaSegment& segment) const {
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
  result.set("steps", steps());
  result.set("learning_rate", learning_rate_);
  for (const auto& state : states_) add_views(result, state->name, *arenas_, state->flat);
  if (loss_scale_.defined()) result.tensors.set(kLossScale, loss_scale_);
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
  const at::Tensor* loss_scale = loss_scale_.defined() ? state.tensors.find(kLossScale) : nullptr;
  if (loss_scale && loss_scale->sizes() != loss_scale_.sizes())
    throw CheckpointError("the state's loss_scale has not the shape [2]");
  for (const auto& own : states_) copy_views(state, own->name, *arenas_, own->flat);
  if (loss_scale) loss_scale_.copy_(*loss_scale);
  steps_ = steps;
  unsettled_.reset();
  learning_rate_ = learning_rate;
}

}  // namespace bunchtrain::optim
