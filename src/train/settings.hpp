// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The settings of a run after flags, file, environment and the program's own choices are merged.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::train {

/// How often an extra snapshot is written: by steps or by time; neither = only at the end of epochs.
struct CheckpointInterval {
  std::int64_t steps = 0;
  std::chrono::seconds time{0};
};

/// "500", "500 steps", "10min", "90s". @throws ConfigError
CheckpointInterval parse_checkpoint_interval(const std::string& text);

struct Settings {
  std::int64_t epochs;
  std::int64_t batch;
  std::int64_t reference_batch;
  std::int64_t accumulate;
  std::int64_t warmup_steps;
  optim::ScheduleKind schedule;
  double clip_norm;
  CheckpointInterval checkpoint_every;
  int keep_last;
  std::int64_t patience;  ///< epochs without a better score before the run is finished early; 0 = never

  /// The factor between the rate given and the rate used.
  double rate_scale() const noexcept {
    return static_cast<double>(batch) / static_cast<double>(reference_batch);
  }
};

/// What the user set wins over `options`, that over the declared defaults. @throws ConfigError naming the
/// option.
Settings resolve_settings(const TrainerOptions& options, const config::Options& given);

}  // namespace bunchtrain::train
