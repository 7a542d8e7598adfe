// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What was chosen for the trainings of a session.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/data/decode_on.hpp"
#include "bunchtrain/device/cuda_graph.hpp"
#include "bunchtrain/optim/parameter_group.hpp"
#include "bunchtrain/optim/schedule.hpp"
#include "bunchtrain/parallel/collective_plan.hpp"
#include "bunchtrain/train/early_stopping.hpp"

namespace bunchtrain::train {

/// A value, and whether the user asked for it: then it wins over what a program's code says
/// (`TrainerOptions`, the rate of an optimizer); else the code wins over it.
template <class T>
struct Choice {
  T value;
  bool by_user = false;

  constexpr Choice(T value, bool by_user = false) : value(value), by_user(by_user) {}
};

/// How often an extra snapshot is written: by steps, by time or as often as it costs little; neither = only at the end of epochs.
struct CheckpointInterval {
  std::int64_t steps = 0;
  std::chrono::seconds time{0};
  /// The run measures what a snapshot takes from the steps and chooses the time so that it is `most_stolen` of it at most, but
  /// never longer than `longest`, whatever that costs, nor shorter than `shortest`.
  bool automatic = false;
  double most_stolen = 0.03;
  std::chrono::seconds shortest = std::chrono::minutes(1);
  std::chrono::seconds longest = std::chrono::minutes(30);

  /// @throws ConfigError
  void validate() const;
};

/// "500", "500 steps", "10min", "90s", "auto"; "" for none. @throws ConfigError
CheckpointInterval parse_checkpoint_interval(std::string_view text);
/// As `parse_checkpoint_interval` reads it.
std::string to_string(const CheckpointInterval& interval);

/// What becomes of a step whose gradients are not finite.
enum class CheckFinite {
  stop,  ///< the run ends
  skip,  ///< the step is left out, up to 100 in a row
};

using device::CudaGraph;

/// What becomes of samples that turn out to be damaged while a run reads them.
enum class OnBad {
  stop,  ///< the run ends
  skip,  ///< they have weight 0, and are left out of validations, as long as they are 0.1 % of the samples at most
};

/// "stop" or "skip". @throws ConfigError with the names allowed.
OnBad parse_on_bad(std::string_view text);
std::string_view to_string(OnBad choice) noexcept;

/// "stop" or "skip". @throws ConfigError with the names allowed.
CheckFinite parse_check_finite(std::string_view text);
std::string_view to_string(CheckFinite check) noexcept;

/// Of a session, for all that is trained in it. Checked where it is used: by the Trainer and by
/// `create_optimizer`.
struct TrainingChoices {
  Choice<std::int64_t> epochs = 10;          ///< passes over the training data
  Choice<std::int64_t> steps_per_epoch = 0;  ///< between validations; 0 = one pass over the data
  Choice<std::int64_t> max_steps = 0;        ///< ends the run after so many optimizer steps; 0 = no bound
  Choice<std::int64_t> max_samples = 0;      ///< ends it before it has trained on more samples; 0 = no bound
  Choice<std::int64_t> validate_every = 0;   ///< steps between validations within an epoch; 0 = none
  Choice<std::int64_t> batch = 256;          ///< samples per optimizer step over all ranks
  Choice<std::int64_t> reference_batch = 256;  ///< that the learning rate belongs to; 0 = any batch
  Choice<std::int64_t> accumulate = 1;         ///< passes per optimizer step
  bool weighted_validation = true;  ///< a validation's loss weights samples as that of training does

  std::string optimizer = "adamw";                 ///< one of `optim::names()`
  Choice<double> learning_rate = 5e-3;             ///< the peak, at the reference batch
  double weight_decay = 1e-4;                      ///< decoupled of adamw and ranger
  std::vector<optim::ParameterGroup> groups = {};  ///< the first that matches a parameter counts
  Choice<optim::ScheduleKind> schedule = optim::ScheduleKind::one_cycle;
  std::int64_t warmup_steps = 0;   ///< not for one-cycle
  Choice<double> clip_norm = 0.0;  ///< largest global gradient norm; 0 = no clipping
  CheckFinite check_finite = CheckFinite::stop;
  OnBad on_bad = OnBad::stop;
  data::DecodeOn decode =
      data::DecodeOn::automatic;  ///< whether the GPU computes inputs of what it trains on
  CudaGraph cuda_graph =
      CudaGraph::automatic;  ///< for whole steps; those that stay as they are with `on` are warned of
  Choice<double> ema = 0.0;  ///< decay of averaged weights; 0 = none

  std::int64_t patience = 0;  ///< validations without a better score that finish the run; 0 = never
  std::optional<EarlyStoppingOptions> early_stop = {};  ///< the same by a metric
  CheckpointInterval checkpoint_every = {};
  /// A folder on each node's own disk where snapshots are written, to be brought to the run folder beside the steps; empty: none.
  std::filesystem::path checkpoint_local = {};
  /// A folder on each node's own disk to which data files are copied while they are read; empty: none.
  std::filesystem::path stage = {};
  std::uint64_t stage_bytes = 0;       ///< that copies may take there; 0 = what is free
  std::int64_t keep_last = 3;          ///< the newest snapshots stay
  std::int64_t keep_best = 1;          ///< and those with the best scores
  std::chrono::seconds keep_every{0};  ///< and the oldest one of every such span of time; 0 = none
  std::int64_t check_replicas = 0;     ///< steps between comparisons; 0 = at snapshots only, -1 = never

  bool sync_batch_norm = false;  ///< batch-norm statistics over all ranks
  parallel::CollectivePlan collectives = parallel::CollectivePlan::automatic;  ///< when gradients are summed
};

}  // namespace bunchtrain::train
