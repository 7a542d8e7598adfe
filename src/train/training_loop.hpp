// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The loop of `Trainer::fit`: one step, one epoch, the whole run.

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "run_log.hpp"
#include "run_state.hpp"
#include "settings.hpp"

namespace bunchtrain::train {

/// What is trained and how, fixed for the run.
struct TrainingTask {
  std::vector<TrainedNetwork> networks;
  Step step;  ///< one network; empty if `manual_step` is set
  ManualStep manual_step;
  std::shared_ptr<Validation> validation;  ///< null with a `step`: that of a classifier, if there are classes
  TrainerOptions options;
  std::vector<std::shared_ptr<Callback>> callbacks;
};

/// Runs one training. Collective throughout.
class TrainingLoop {
 public:
  TrainingLoop(Session& session, TrainingTask task, const data::DatasetPtr& train,
               const data::DatasetPtr& valid);
  FitResult run();

 private:
  /// One step and what all ranks agreed on about it.
  struct StepOutcome {
    StepEvent event;
    bool stop = false;
    bool save = false;
  };

  void resume();
  void run_epoch();
  StepOutcome run_step(const data::Batch& batch);
  std::vector<double> sum_over_ranks(std::vector<double> of_rank);
  report::StepSplit mean_split();
  void train_on(const data::Batch& batch, StepEvent& event);
  void run_manual_step(const data::Batch& batch);
  void finish_epoch();
  std::optional<ValidationResult> judge();
  void require_progress(const StepEvent& event);
  void save(std::optional<double> metric);
  void set_learning_rates(double factor_of_peak);
  bool checkpoint_due();
  double samples_per_second() const;

  Session& session_;
  TrainingTask task_;
  Settings settings_;
  data::DatasetPtr train_;
  data::DatasetPtr valid_;
  data::DataLoader loader_;
  std::optional<data::DataLoader> valid_loader_;
  checkpoint::Store store_;
  std::vector<double> peak_rates_;
  RunState state_;
  std::unique_ptr<RunLog> log_;
  std::optional<ValidationResult> validation_;
  FitResult result_;
  std::chrono::steady_clock::time_point last_save_ = std::chrono::steady_clock::now();
  double loss_of_rank_ = 0;              ///< loss times samples of the current step
  double exposed_ = 0;                   ///< seconds of the current step spent on collectives
  std::vector<LossTerm> terms_of_rank_;  ///< likewise, of a manual step
};

}  // namespace bunchtrain::train
