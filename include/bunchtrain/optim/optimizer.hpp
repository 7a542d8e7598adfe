// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Fused optimizers: one pass over each arena per update.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/device/parameter_arena.hpp"
#include "bunchtrain/device/state_dict.hpp"

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

/// Base of the fused optimizers: owns flat state beside the arenas, updates parameters in place, bumps their versions.
/// State is saved by parameter name. Not thread-safe. The arenas must outlive the optimizer.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  StepReport step(const StepOptions& options = {});
  double learning_rate() const noexcept { return learning_rate_; }
  void set_learning_rate(double rate) noexcept { learning_rate_ = rate; }
  std::int64_t steps() const noexcept { return steps_; }

  StateDict state() const;
  /// @throws CheckpointError naming the first differing parameter and shape.
  void load(const StateDict& state);
  /// "AdamW(learning_rate 0.005, weight_decay 0.0001, ...)" for logs and run.json.
  virtual std::string describe() const = 0;

 protected:
  Optimizer(device::ParameterArenas& arenas, double learning_rate);
  /// Flat state tensors by name ("exp_avg"), one per arena, laid out as the arena.
  std::vector<at::Tensor>& add_state(std::string name);
  /// Updates one arena. `gradient_scale` already holds clipping and the caller's scale; `step` counts from 1.
  virtual void update(std::size_t arena, double gradient_scale, std::int64_t step) = 0;
  device::ParameterArenas& arenas() noexcept { return *arenas_; }

 private:
  struct State {
    std::string name;
    std::vector<at::Tensor> flat;
  };
  device::ParameterArenas* arenas_;
  double learning_rate_;
  std::int64_t steps_ = 0;
  std::vector<std::unique_ptr<State>> states_;
};

}  // namespace bunchtrain::optim
