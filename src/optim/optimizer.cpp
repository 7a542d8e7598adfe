// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/optimizer.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "arena_norms.hpp"
#include "arena_state.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/optim/ema.hpp"
#include "flat_update.hpp"
#include "step_memory.hpp"

namespace bunchtrain::optim {

namespace {

constexpr const char* kLossScale = "loss_scale";

ScaleRule scale_rule_of(const StepOptions& options, const LossScaleOptions& loss_scale) {
  return {.gradient_scale = options.gradient_scale,
          .clip_norm = options.clip_norm,
          .check_finite = options.check_finite,
          .loss_scale = {loss_scale.growth, loss_scale.backoff, static_cast<double>(loss_scale.interval)}};
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

/// @throws ConfigError unless `norm` is a scalar of float64 where the arenas are.
void require_norm(const at::Tensor& norm, const tensor::ParameterArenas& arenas) {
  const c10::Device device = on_one_gpu(arenas) ? arenas.front().values().device() : c10::Device(c10::kCPU);
  if (norm.numel() == 1 && norm.scalar_type() == at::kDouble && norm.device() == device) return;
  throw ConfigError("gradient_norm",
                    fmt::format("{} elements of {} on {}", norm.numel(), at::toString(norm.scalar_type()),
                                norm.device().str()),
                    fmt::format("a float64 scalar on {}", device.str()));
}

}  // namespace

double StepReport::gradient_norm() const { return late_.empty() ? gradient_norm_ : late_.values()[1]; }
bool StepReport::applied() const { return late_.empty() ? applied_ : std::isfinite(late_.values()[0]); }

Optimizer::Optimizer(tensor::ParameterArenas& arenas, std::string kind, double learning_rate,
                     double weight_decay, const OwnedRanges& owned)
    : arenas_(&arenas),
      owned_(ownership_of(arenas, owned)),
      kind_(std::move(kind)),
      learning_rate_(learning_rate),
      weight_decay_(weight_decay) {
  for (const auto& arena : arenas) {
    const auto has_it = [&](const auto& memory) { return memory->device() == arena.values().device(); };
    if (std::ranges::none_of(memories_, has_it))
      memories_.push_back(std::make_unique<StepMemory>(arena.values().device()));
    const at::ScalarType dtype = arena.values().scalar_type();
    if (dtype != at::kFloat && dtype != at::kDouble) {
      throw ConfigError(
          "dtype of parameter " + arena.segments().front().name, at::toString(dtype),
          "float32 and float64; keep the parameters in float32 and train with precision bfloat16 or float16");
    }
  }
}

Optimizer::~Optimizer() = default;

StepMemory& Optimizer::memory_of(std::size_t arena) const {
  const c10::Device device = (*arenas_)[arena].values().device();
  return **std::ranges::find_if(memories_, [&](const auto& memory) { return memory->device() == device; });
}

std::int64_t Optimizer::uploads() const noexcept {
  std::int64_t count = 0;
  for (const auto& memory : memories_) count += memory->uploads();
  return count;
}

bool Optimizer::owns_all() const { return optim::owns_all(*arenas_, owned_); }

/// An average of arenas of several GPUs moves by itself, since an update may be left out by the host there.
bool Optimizer::can_move(const Ema* average) const {
  return average != nullptr && on_one_gpu(*arenas_) && moves_averages();
}

bool Optimizer::looks_at_gradients(const StepOptions& options) const {
  return options.clip_norm > 0 || options.check_finite || loss_scale_.defined();
}

StepReport Optimizer::step(const StepOptions& options) {
  for (auto& arena : *arenas_) arena.end_pass();
  prepare(options);
  enqueue();
  return conclude();
}

void Optimizer::prepare(const StepOptions& options) {
  expects(options.clip_norm >= 0, "clip_norm must not be negative");
  expects(options.average == nullptr || options.average->is_of(*arenas_),
          "the average of an optimizer's step is of other arenas");
  if (options.gradient_norm.defined())
    require_norm(options.gradient_norm, *arenas_);
  else if (looks_at_gradients(options) && !owns_all())
    throw ConfigError(
        "gradient_norm", "undefined",
        "that of all ranks, as this optimizer owns a part of the arenas: Engine::gradient_norm");
  steps_ = steps();  // the device came to the update before long ago
  unsettled_.reset();
  planned_ = {.options = options,
              .with_average = can_move(options.average),
              .on_device = looks_at_gradients(options) && on_one_gpu(*arenas_)};
  if (planned_.on_device && !found_scale_.defined())
    found_scale_ = at::empty({2}, at::TensorOptions(arenas_->front().values().device()).dtype(at::kDouble));
  write_scalars();
}

void Optimizer::enqueue() {
  GradientScale scale{planned_.options.gradient_scale};
  find_scale(scale);
  // With a loss scale the device, or a scale that is not a number, leaves the update out.
  if (planned_.on_device || planned_.report.applied() || loss_scale_.defined()) apply(scale, steps_ + 1);
  if (planned_.options.average != nullptr && !planned_.with_average) planned_.options.average->update();
}

StepReport Optimizer::conclude() {
  const StepReport report = planned_.on_device ? StepReport(device::LateCopy(found_scale_)) : planned_.report;
  const StepOptions options = std::exchange(planned_.options, {});
  const bool counts_left_out = options.counts_left_out || loss_scale_.defined();
  if (!planned_.on_device && !report.applied() && !counts_left_out) return report;
  if (planned_.on_device && options.check_finite && !counts_left_out) unsettled_ = report;
  ++steps_;
  for (auto& arena : *arenas_) arena.bump_versions();
  return report;
}

std::size_t Optimizer::launch_layout() const noexcept {
  std::size_t layout = planned_.on_device ? 1 : 0;
  layout = 2 * layout + (planned_.options.gradient_norm.defined() ? 1 : 0);
  layout = 2 * layout + (planned_.with_average ? 1 : 0);
  for (const auto& memory : memories_) layout = layout * 31 + memory->layout();
  return layout;
}

void Optimizer::write_scalars() {
  for (const auto& memory : memories_)
    memory->begin(planned_.with_average ? planned_.options.average : nullptr);
  plan(steps_ + 1);
  for (const auto& memory : memories_) memory->upload(scale_rule_of(planned_.options, loss_scale_options_));
}

void Optimizer::find_scale_on_device() {
  const c10::Device gpu = found_scale_.device();
  const c10::DeviceGuard guard(gpu);
  static_assert(sizeof(ClipScale) == 2 * sizeof(double));
  auto* const result = reinterpret_cast<ClipScale*>(found_scale_.mutable_data_ptr<double>());
  const ScaleRule* const rule = memory_of(0).scale_rule();
  if (const at::Tensor& given = planned_.options.gradient_norm; given.defined()) {
    find_scale_on_gpu(rule, given.const_data_ptr<double>(), 1, in_memory(loss_scale_), result,
                      device::current_stream(gpu));
    return;
  }
  if (!norm_) norm_ = std::make_unique<GpuNorm>();
  norm_->find(*arenas_,
              {.rule = rule, .loss_scale = in_memory(loss_scale_), .found = result, .norm = nullptr});
}

/// Clipping, loss scale and the check for finite gradients, where they are asked for.
void Optimizer::find_scale(GradientScale& scale) {
  const StepOptions& options = planned_.options;
  if (planned_.on_device) {
    find_scale_on_device();
    scale.on_device = found_scale_;
  } else if (looks_at_gradients(options)) {
    const at::Tensor& given = options.gradient_norm;
    const double norm = given.defined() ? *given.const_data_ptr<double>() : norm_on_host(*arenas_);
    const ScaleRule rule = scale_rule_of(options, loss_scale_options_);
    const ClipScale found = optim::find_scale(rule, norm, in_memory(loss_scale_));
    scale.value = found.scale;
    planned_.report = StepReport(found.norm, std::isfinite(found.scale));
  }
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
  for (std::size_t i = 0; i < arenas_->size(); ++i)
    state->flat.push_back(at::zeros({owned_[i].end - owned_[i].begin}, (*arenas_)[i].values().options()));
  states_.push_back(std::move(state));
  return states_.back()->flat;
}

void Optimizer::set_groups(std::vector<ParameterGroup> groups) {
  for (const ParameterGroup& group : groups) {
    group.validate();
    if (!matches_any(group, *arenas_))
      throw ConfigError(
          "parameter group", group.pattern,
          fmt::format("a pattern that matches the name of a parameter: {}", list_parameters(*arenas_)));
  }
  groups_ = std::move(groups);
}

HyperParameters Optimizer::hyper_parameters_of(const std::string& parameter) const {
  const auto group =
      std::ranges::find_if(groups_, [&](const auto& candidate) { return matches(candidate, parameter); });
  if (group == groups_.end()) return {learning_rate_, weight_decay_};
  return {learning_rate_ * group->learning_rate_factor, group->weight_decay.value_or(weight_decay_)};
}

StateDict Optimizer::state() const {
  StateDict result;
  result.set("kind", kind_);
  result.set("steps", steps());
  result.set("learning_rate", learning_rate_);
  for (const auto& state : states_) add_views(result, state->name, *arenas_, owned_, state->flat);
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
  for (const auto& own : states_) require_views(state, own->name, *arenas_, owned_);
  const at::Tensor* loss_scale = loss_scale_.defined() ? state.tensors.find(kLossScale) : nullptr;
  if (loss_scale && loss_scale->sizes() != loss_scale_.sizes())
    throw CheckpointError("the state's loss_scale has not the shape [2]");
  for (const auto& own : states_) copy_views(state, own->name, *arenas_, owned_, own->flat);
  if (loss_scale) loss_scale_.copy_(*loss_scale);
  steps_ = steps;
  unsettled_.reset();
  learning_rate_ = learning_rate;
}

}  // namespace bunchtrain::optim
