// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Learning-rate schedules: pure functions of the step.

#include <cstdint>
#include <string>
#include <string_view>

namespace bunchtrain::optim {

enum class ScheduleKind { constant, step, cosine, one_cycle, flat_then_decay };

/// A schedule over `total_steps` optimizer steps, with an optional linear warm-up in front of
/// every kind but one-cycle.
struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::constant;
  double learning_rate = 1e-3;  ///< the peak
  std::int64_t total_steps = 1;
  std::int64_t steps_per_epoch = 1;  ///< flat_then_decay and step change between epochs
  std::int64_t warmup_steps = 0;
  double warmup_fraction = 0.3;  ///< one-cycle: share of the steps that rise (Smith & Topin, 1708.07120)
  double start_divisor = 25;     ///< one-cycle: starts at learning_rate / start_divisor
  /// one-cycle: ends at start / final_divisor; cosine ends at learning_rate / final_divisor.
  double final_divisor = 1e4;
  double flat_fraction = 0.7;     ///< flat_then_decay: share of the epochs at the peak
  double final_factor = 0.01;     ///< flat_then_decay: factor reached at the end
  double step_factor = 0.1;       ///< step: factor ...
  std::int64_t step_epochs = 10;  ///< ... every so many epochs

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// The learning rate of optimizer step `step` (from 0). One-cycle equals
/// `torch.optim.lr_scheduler.OneCycleLR` with cosine annealing.
double learning_rate_at(const ScheduleOptions& options, std::int64_t step);

/// "constant", "step", "cosine", "one-cycle", "flat-then-decay". @throws ConfigError with the names allowed.
ScheduleKind parse_schedule(std::string_view text);
std::string_view to_string(ScheduleKind kind) noexcept;

}  // namespace bunchtrain::optim
