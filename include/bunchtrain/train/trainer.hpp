// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The training loop: epochs, validation, progress, checkpoints, run folder.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/nn/objective.hpp"
#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/optim/schedule.hpp"
#include "bunchtrain/parallel/engine.hpp"
#include "bunchtrain/train/callback.hpp"
#include "bunchtrain/train/manual_step.hpp"
#include "bunchtrain/train/sample_metric.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {

/// Settings of a run. What is left out comes from the session's options; what the user sets by flag, file or
/// environment wins over what the program sets here.
struct TrainerOptions {
  std::optional<std::int64_t> epochs = {};
  std::optional<std::int64_t> steps_per_epoch = {};  ///< between validations; 0 = one pass over the data
  std::optional<std::int64_t> max_steps = {};        ///< the run ends after so many optimizer steps
  std::optional<std::int64_t> max_samples = {};      ///< and before it has trained on more samples
  std::optional<std::int64_t> batch = {};            ///< samples per optimizer step over all ranks
  /// The learning rate belongs to this batch and scales with batch / reference.
  std::optional<std::int64_t> reference_batch = {};
  std::optional<optim::ScheduleKind> schedule = {};
  std::optional<double> clip_norm = {};
  std::optional<std::int64_t> accumulate = {};  ///< passes per optimizer step
  /// Steps between validations within an epoch; 0 = none. Each has a snapshot, which it judges.
  std::optional<std::int64_t> validate_every = {};
  /// Decay of averaged weights (`optim::Ema`), which validations judge and snapshots keep as "ema"; 0 = none.
  std::optional<double> ema = {};
  /// Steps that are enqueued before the losses of an earlier one are read; default 0 on the CPU, 1 on a GPU,
  /// which idles with 0. Weights, snapshots and records are the same; a loss that is not finite, `halt_when`
  /// and `Callback`s are heard so many steps later.
  std::optional<std::int64_t> run_ahead = {};
  /// So many batches at a time exchange samples of ragged data, so that those of a batch have like lengths
  /// (`DataLoaderOptions::length_bucket_batches`); 0 = none.
  std::int64_t length_buckets = 0;
  std::string samples = "jets";  ///< what a sample is called
  /// Kept in every checkpoint; "model" says how to build the network, if it does not say itself.
  std::map<std::string, std::string> metadata = {};
  /// Finds a training that has failed: looks at every step's losses (means over all ranks, so that all ranks
  /// decide alike). A text ends the run with a snapshot and `TrainingHalted`, exit code 1; an empty one goes
  /// on. A training that is good enough is finished by `Callback::verdict` instead, exit code 0.
  std::function<std::string(const StepEvent&)> halt_when = {};
};

/// The run was ended because it leads nowhere: a loss that is not finite, or what `halt_when` found. Thrown
/// on all ranks.
class TrainingHalted : public Error {
 public:
  using Error::Error;
};

/// The parameters of the ranks are not the same any more: a broken machine, unlike processors or a defect.
/// Thrown on all ranks, before a snapshot is written.
class ReplicasDiffer : public Error {
 public:
  using Error::Error;
};

/// A network on its ranks with its optimizer. Both must outlive the trainer.
struct TrainedNetwork {
  std::string name;
  parallel::Engine* engine;
  optim::Optimizer* optimizer;
};

/// How a finished run went.
struct FitResult {
  std::int64_t epochs = 0;
  std::int64_t steps = 0;
  double samples_per_second = 0;               ///< training, all ranks, last epoch
  double train_loss = 0;                       ///< last epoch
  std::optional<ValidationResult> validation;  ///< of the last epoch
  std::filesystem::path run_folder;
  std::int64_t left_out_steps = 0;  ///< their gradients were not finite (`--check-finite skip`)
  std::string finished_early = {};  ///< why the run ended before its last epoch; empty: it did not
};

/// Trains one network for an objective, or several by a `ManualStep`. Collective: all ranks
/// construct and call the same.
///
/// Learning rates follow `schedule`, whose peak is the optimizer's rate (or `--learning-rate`) times batch /
/// reference batch. Snapshots are complete: a resumed run goes on in mid-epoch and, at the same world size,
/// ends with bit-equal weights.
class Trainer {
 public:
  /// A validation averages the objective, and adds what `use_validation` names; without that, accuracy and AUC of
  /// "logits" if the data have classes.
  Trainer(Session& session, parallel::Engine& engine, optim::Optimizer& optimizer, nn::Objective objective,
          TrainerOptions options = {});
  /// @param validation may be null.
  Trainer(Session& session, std::vector<TrainedNetwork> networks, ManualStep step,
          std::shared_ptr<Validation> validation, TrainerOptions options = {});
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

  /// null: nothing but the objective.
  void use_validation(std::shared_ptr<Validation> validation);
  /// A metric of every validation beside what the validation itself finds: "valid_NAME" in the records, the
  /// progress and the page, and for `--early-stop NAME:PATIENCE`. A sample without a number (NaN) makes it NaN,
  /// which is recorded as null, never the best and no end of the run.
  /// @throws ConfigError for a name that is no word or taken; `fit` does for one that the validation finds.
  void add_metric(std::string name, SampleMetric metric, SampleMetricOptions options = {});
  void add_callback(std::shared_ptr<Callback> callback);
  /// Trains to the end, or from where the run folder's newest snapshot stopped if `--resume` is given.
  /// `valid` may be null.
  /// @throws DataError if both read the same file (the parts of one `split` may); Interrupted on all ranks
  /// after a stop request, once the snapshot is written; TrainingHalted; IoError if a snapshot cannot be
  /// written for now.
  FitResult fit(const data::DatasetPtr& train, const data::DatasetPtr& valid);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::train
