// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What every optimizer on arenas has: clipping, the check for finite gradients, loss scale, groups, state.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/optim/loss_scale.hpp"
#include "bunchtrain/optim/owned_ranges.hpp"
#include "bunchtrain/optim/parameter_group.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"
#include "bunchtrain/tensor/state_dict.hpp"

namespace bunchtrain::optim {

class Ema;

/// What one `step` did, for metrics. On a GPU it becomes known when the device comes to the update: who asks
/// in the step that follows waits for nothing.
class StepReport {
 public:
  /// Nothing was looked at.
  StepReport() = default;
  StepReport(double gradient_norm, bool applied) : gradient_norm_(gradient_norm), applied_(applied) {}
  /// @param scale_and_norm of `GradientScale::on_device`
  explicit StepReport(device::LateCopy scale_and_norm) : late_(std::move(scale_and_norm)) {}

  /// Whether the others return without waiting.
  bool ready() const { return late_.ready(); }
  /// Global L2 norm before clipping, of the gradients divided by the loss scale; 0 without `clip_norm`,
  /// `check_finite` and a loss scale.
  double gradient_norm() const;
  /// False if a gradient that is not finite made the step be left out (see `check_finite`, `scale_losses`).
  bool applied() const;

 private:
  double gradient_norm_ = 0;
  bool applied_ = true;
  device::LateCopy late_;
};

/// Scalars of one update, folded into the update itself.
struct StepOptions {
  double clip_norm = 0;       ///< 0 = no clipping; scales all gradients by min(1, clip_norm / norm)
  double gradient_scale = 1;  ///< multiplies every gradient (averaging, a fixed loss scale)
  bool check_finite = false;  ///< skip the update and report it if any gradient is not finite
  /// Scalar float64 on the arenas' device: the L2 norm to clip by and to check, where the gradients of a
  /// network are spread over ranks (`parallel::Engine::gradient_norm`). Undefined: the norm of the own arenas
  /// (`gradient_norm`), which an optimizer of a part of them does not take.
  at::Tensor gradient_norm = {};
  /// Moved on after the update, also one that is left out, as by `Ema::update`: on a GPU in the update's own pass over
  /// memory, where no parameter is frozen and all of the arenas are owned. nullptr: none.
  Ema* average = nullptr;
  /// With `check_finite`: a step that is left out counts as one (`steps`, and so in bias corrections), as it does with a loss
  /// scale. On a GPU the next step then does not wait to hear of it: for a training that ends there.
  bool counts_left_out = false;
};

class GpuNorm;
class StepMemory;

/// What an update multiplies every gradient with: clipping, the caller's scale and the inverse of the loss
/// scale in one. A scale that is not finite changes nothing: neither parameters nor state.
struct GradientScale {
  double value = 1;
  /// [2] float64 on the arenas' GPU, the scale and the norm that it comes from;
  /// if defined it counts instead of `value`.
  at::Tensor on_device = {};
};

/// What holds for one parameter in the next update.
struct HyperParameters {
  double learning_rate;
  double weight_decay;

  bool operator==(const HyperParameters&) const = default;
};

/// Base of all optimizers: owns flat state beside the arenas, updates parameters in place, bumps their
/// versions. State is saved by parameter name. Frozen parameters are left alone; an unused one is stepped with
/// a zero gradient. With `OwnedRanges` it updates these alone and has state for no others. Parameters must be float32 or float64. Not thread-safe. The arenas must outlive the
/// optimizer.
class Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update from the gradients in the arenas, which stay as they are (a `TorchOptimizer` scales them). On
  /// a GPU clipping and the check for finite gradients are made by the device, and the host goes on.
  /// @throws ConfigError for a negative `clip_norm`, an `average` of other arenas, a `gradient_norm` of another shape, dtype or device, or none
  /// where it is needed and a part of the arenas is owned.
  StepReport step(const StepOptions& options = {});
  /// `step` in three parts, for work of the device that is taken down once and repeated (`device::StepGraph`): what the
  /// host writes, what the device does, and what the host counts. `enqueue` may be repeated with other numbers as long as
  /// `launch_layout` stays the same, where `is_repeatable`. Gradients are taken as they lie in the arenas. @throws as `step`
  void prepare(const StepOptions& options);
  void enqueue();
  StepReport conclude();
  /// Stands for the launches of the update that was prepared: how many of what size, and where their tables are.
  std::size_t launch_layout() const noexcept;
  virtual bool is_repeatable() const noexcept { return false; }
  /// Whether this optimizer updates all of the arenas, so that it finds the norm of their gradients by itself.
  bool owns_all() const;
  /// How often numbers of a step (rates, corrections, clipping) were written to the devices: by each step that changes one, once
  /// for each device.
  std::int64_t uploads() const noexcept;
  /// From now on losses are scaled, for float16 (see LossScaleOptions): every `step` divides the gradients by
  /// the loss scale, is left out if they are not finite, and moves the scale, all of it on the arenas'
  /// device. Whoever runs backward multiplies its loss by `loss_scale()`; `DataParallel::scale_losses_by`
  /// does. Starts at the options' scale. @throws ConfigError for bad options or arenas on several devices.
  void scale_losses(const LossScaleOptions& options = {});
  /// The scale that the next `step` divides by: a float64 scalar on the arenas' device, a view of the live
  /// number from `scale_losses` on, also through `load`; undefined before.
  at::Tensor loss_scale() const;
  double learning_rate() const noexcept { return learning_rate_; }
  void set_learning_rate(double rate) noexcept { learning_rate_ = rate; }
  /// Updates applied so far. On a GPU it waits for the last one if that was made with `check_finite`. With a
  /// loss scale, or `counts_left_out`, those left out count, too, as the host of a GPU does not wait to hear of them.
  std::int64_t steps() const;
  /// Hyper-parameters by parameter name, from the next step on. @throws ConfigError for a pattern that matches
  /// nothing, with names that there are, or a bad number.
  void set_groups(std::vector<ParameterGroup> groups);
  const std::vector<ParameterGroup>& groups() const noexcept { return groups_; }

  /// Steps, learning rate, one tensor per parameter and kind of state ("exp_avg.<parameter>"), and with a
  /// loss scale "loss_scale" [2], the scale and the finite steps in a row. Views of the live state: write or
  /// clone them before the next step. Where a part of the arenas is owned, these tensors are slices
  /// (`StateDict::slices`): a parameter that is cut has a range of its storage, others are absent.
  StateDict state() const;
  /// Of whole tensors or of slices that have what is owned, whatever ranks wrote them. A loss scale is taken from the state if both have one, and else stays.
  /// @throws CheckpointError naming the first differing parameter, shape or slice; the optimizer is unchanged then.
  void load(const StateDict& state);
  /// "AdamW(learning_rate 0.005, weight_decay 0.0001, ...)" for logs and run.json.
  virtual std::string describe() const = 0;

 protected:
  /// @param kind "AdamW": what state belongs to.
  Optimizer(tensor::ParameterArenas& arenas, std::string kind, double learning_rate, double weight_decay,
            const OwnedRanges& owned);
  /// Flat state tensors by name ("exp_avg"), one per arena, laid out as what is owned of it.
  std::vector<at::Tensor>& add_state(std::string name);
  /// Says by the memories of the devices what the update of `step` will read; `apply` follows, unless the step is left out.
  virtual void plan(std::int64_t /*step*/) {}
  /// Whether `apply` moves the average of the memories on, where these have one.
  virtual bool moves_averages() const { return false; }
  /// Updates what is owned of all parameters that are not frozen; `step` counts from 1.
  virtual void apply(const GradientScale& scale, std::int64_t step) = 0;
  /// By the first group that matches the parameter's name.
  HyperParameters hyper_parameters_of(const std::string& parameter) const;
  /// Of each device that has arenas.
  const std::vector<std::unique_ptr<StepMemory>>& memories() const noexcept { return memories_; }
  StepMemory& memory_of(std::size_t arena) const;
  tensor::ParameterArenas& arenas() noexcept { return *arenas_; }
  const tensor::ParameterArenas& arenas() const noexcept { return *arenas_; }
  const tensor::ArenaRange& owned(std::size_t arena) const noexcept { return owned_[arena]; }

 private:
  struct State {
    std::string name;
    std::vector<at::Tensor> flat;
  };
  /// The step between `prepare` and `conclude`.
  struct Planned {
    StepOptions options = {};
    bool with_average = false;  ///< moved by `apply`
    bool on_device = false;     ///< the device finds the scale, in `found_scale_`
    StepReport report = {};     ///< of the host, else
  };
  bool can_move(const Ema* average) const;
  bool looks_at_gradients(const StepOptions& options) const;
  void write_scalars();
  void find_scale_on_device();
  void find_scale(GradientScale& scale);

  Planned planned_;
  at::Tensor found_scale_;  ///< as `GradientScale::on_device`; the same memory in every step

  tensor::ParameterArenas* arenas_;
  std::vector<tensor::ArenaRange> owned_;  ///< one per arena
  std::string kind_;
  double learning_rate_;
  double weight_decay_;
  std::int64_t steps_ = 0;  ///< as if the step of `unsettled_` had been applied
  std::optional<StepReport> unsettled_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::unique_ptr<State>> states_;
  std::vector<std::unique_ptr<StepMemory>> memories_;
  std::unique_ptr<GpuNorm> norm_;
  LossScaleOptions loss_scale_options_;
  at::Tensor loss_scale_;  ///< [2] float64, as LossScale in memory; undefined = losses are not scaled
};

}  // namespace bunchtrain::optim
