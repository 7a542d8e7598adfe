// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The settings of a run after what the session was asked for and the program's own choices are merged.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/train/early_stopping.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "bunchtrain/train/training_choices.hpp"

namespace bunchtrain::train {

struct Settings {
  std::int64_t epochs;
  std::int64_t steps_per_epoch;  ///< 0 = one pass over the data
  std::int64_t max_steps;        ///< 0 = no bound
  std::int64_t max_samples;      ///< 0 = no bound
  std::int64_t batch;
  std::int64_t reference_batch;
  std::int64_t accumulate = 1;
  std::optional<std::int64_t> run_ahead;  ///< unset: as the device asks for
  std::int64_t warmup_steps;
  optim::ScheduleKind schedule;
  double clip_norm;
  CheckpointInterval checkpoint_every;
  std::filesystem::path checkpoint_local;  ///< empty: none
  std::filesystem::path stage;             ///< empty: data are not copied
  std::uint64_t stage_bytes;               ///< 0 = what is free
  int keep_last;
  int keep_best;                    ///< 0 = none
  std::chrono::seconds keep_every;  ///< 0 = none
  std::int64_t patience;  ///< epochs without a better score before the run is finished early; 0 = never
  std::optional<EarlyStoppingOptions> early_stop;  ///< on a metric
  std::int64_t validate_every;                     ///< steps between validations within an epoch; 0 = none
  double ema;                                      ///< decay of averaged weights; 0 = none
  CheckFinite check_finite = CheckFinite::stop;
  OnBad on_bad = OnBad::stop;
  data::DecodeOn decode = data::DecodeOn::automatic;
  CudaGraph cuda_graph = CudaGraph::automatic;
  bool weighted_validation = true;  ///< the loss of a validation weights samples as that of training does
  std::int64_t check_replicas;      ///< steps between comparisons; 0 = at snapshots only, -1 = never

  /// The factor between the rate given and the rate used.
  double rate_scale() const noexcept {
    return static_cast<double>(batch) / static_cast<double>(reference_batch);
  }
};

/// Who runs the passes of a step and its updates: the Trainer, or a `ManualStep`, for which clipping and
/// accumulation are its own matter.
enum class Passes { of_trainer, of_step };

/// What the user set wins over `options`, that over what else the session was asked for. Tells `record` which of it
/// has an effect. @throws ConfigError naming the field.
Settings resolve_settings(const TrainerOptions& options, const TrainingChoices& choices,
                          const config::Options& record, Passes passes = Passes::of_trainer);

}  // namespace bunchtrain::train
