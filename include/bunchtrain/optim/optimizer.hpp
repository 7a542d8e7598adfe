// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Fused optimizers: one pass over each arena per update.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/device/parameter_arena.hpp"
#include "bunchtrain/device/state_dict.hpp"
#include "bunchtrain/optim/parameter_group.hpp"

namespace bunchtrain::optim {

/// What one `step` did, for metrics.
struct StepReport {
  double gradient_norm = 0;  ///< global L2 norm before clipping; only if `clip_norm` > 0 or `check_finite`
  bool applied = true;       ///< false if a non-finite gradient made the step be skipped (see `check_finite`)
};

/// Scalars of one update, folded into the update itself.
struct StepOptions {
  double clip_norm = 0;       ///< 0 = no clipping; scales all gradients by min(1, clip_norm / norm)
  double gradient_scale = 1;  ///< multiplies every gradient (loss scale, averaging)
  bool check_finite = false;  ///< skip the update and report it if any gradient is not finite
};

/// A stretch of one arena whose parameters have the same hyper-parameters.
struct UpdateRange {
  std::size_t arena;
  std::int64_t begin;  ///< first element, 64-byte aligned
  std::int64_t end;    ///< one past the last, padding included
  double learning_rate;
  double weight_decay;
};

/// Base of the fused optimizers: owns flat state beside the arenas, updates parameters in place, bumps their
/// versions. State is saved by parameter name. Frozen parameters are left alone; an unused one is stepped
/// with a zero gradient. Parameters must be float32 or float64. Not thread-safe. The arenas must outlive the
/// optimizer.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update from the gradients in the arenas, which stay as they are.
  StepReport step(const StepOptions& options = {});
  double learning_rate() const noexcept { return learning_rate_; }
  void set_learning_rate(double rate) noexcept { learning_rate_ = rate; }
  /// Updates applied so far.
  std::int64_t steps() const noexcept { return steps_; }
  /// Hyper-parameters by parameter name, from the next step on. @throws ConfigError for a pattern that
  /// matches nothing.
  void set_groups(std::vector<ParameterGroup> groups);
  const std::vector<ParameterGroup>& groups() const noexcept { return groups_; }

  /// Steps, learning rate, and one tensor per parameter and kind of state ("exp_avg.<parameter>"), views of
  /// the live state: write or clone them before the next step.
  StateDict state() const;
  /// @throws CheckpointError naming the first differing parameter and shape; the optimizer is unchanged then.
  void load(const StateDict& state);
  /// "AdamW(learning_rate 0.005, weight_decay 0.0001, ...)" for logs and run.json.
  virtual std::string describe() const = 0;

 protected:
  /// @param kind "AdamW": what state belongs to.
  Optimizer(device::ParameterArenas& arenas, std::string kind, double learning_rate, double weight_decay);
  /// Flat state tensors by name ("exp_avg"), one per arena, laid out as the arena.
  std::vector<at::Tensor>& add_state(std::string name);
  /// Updates one range. `gradient_scale` already holds clipping and the caller's scale; `step` counts from 1.
  virtual void update(const UpdateRange& range, double gradient_scale, std::int64_t step) = 0;
  device::ParameterArenas& arenas() noexcept { return *arenas_; }

 private:
  struct State {
    std::string name;
    std::vector<at::Tensor> flat;
  };
  std::vector<UpdateRange> make_ranges() const;
  std::vector<UpdateRange> make_ranges(std::size_t arena) const;
  UpdateRange hyper_parameters_of(std::size_t arena, const device::ArenaSegment& segment) const;

  device::ParameterArenas* arenas_;
  std::string kind_;
  double learning_rate_;
  double weight_decay_;
  std::int64_t steps_ = 0;
  std::vector<ParameterGroup> groups_;
  std::vector<std::unique_ptr<State>> states_;
};

}  // namespace bunchtrain::optim
