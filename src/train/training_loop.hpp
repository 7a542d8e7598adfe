// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The loop of `Trainer::fit`: one step, one epoch, the whole run.

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "run_log.hpp"
#include "run_snapshots.hpp"
#include "run_state.hpp"
#include "settings.hpp"
#include "training_plan.hpp"

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
  TrainingLoop(Session& session, TrainingTask task, TrainingPlan plan, const data::DatasetPtr& train,
               const data::DatasetPtr& valid);
  FitResult run();

 private:
  /// One step and what all ranks agreed on about it.
  struct StepOutcome {
    StepEvent event;
    bool stop = false;
    bool save = false;
    bool finish = false;
  };

  void resume();
  bool all_steps_done() const noexcept { return state_.planned_step() >= plan_.length.total_steps; }
  /// All steps are done and judged.
  bool finished() const noexcept { return all_steps_done() && !state_.epoch_trained; }
  void describe();
  void run_epoch();
  std::optional<data::Batch> next_batch();
  void after_step(const StepOutcome& outcome);
  StepOutcome run_step(const data::Batch& batch);
  std::vector<double> sum_over_ranks(std::vector<double> of_rank);
  report::StepSplit mean_split();
  void train_on(const data::Batch& batch, StepEvent& event);
  void run_manual_step(const data::Batch& batch);
  void require_progress(const StepEvent& event);
  std::int64_t unseen_steps() const;
  void finish_epoch();
  report::EpochRow make_row();
  std::optional<ValidationResult> judge();
  void save();
  std::string agreed_lost_weights(const CapturedState& captured) const;
  std::map<std::string, std::string> callback_states() const;
  std::string wish_to_finish() const;
  std::string agreed_wish_to_finish() const;
  void set_learning_rates(double factor_of_peak);
  double samples_per_second() const;
  /// For what may fail on this rank by itself: the others, who would wait for it in a collective, are told.
  template <class Action>
  auto alone(Action&& action);

  Session& session_;
  TrainingTask task_;
  TrainingPlan plan_;
  Settings settings_;
  data::DatasetPtr train_;
  data::DatasetPtr valid_;
  data::DataLoader loader_;
  std::optional<data::DataLoader> valid_loader_;
  RunSnapshots snapshots_;
  RunState state_;
  std::unique_ptr<RunLog> log_;
  std::optional<ValidationResult> validation_;
  FitResult result_;
  double loss_of_rank_ = 0;              ///< loss times samples of the current step
  bool gradients_seen_ = false;          ///< whether they were looked at in the current step
  bool update_applied_ = true;           ///< false: the gradients of the current step are not finite
  double exposed_ = 0;                   ///< seconds of the current step spent on collectives
  std::vector<LossTerm> terms_of_rank_;  ///< likewise, of a manual step
};

template <class Action>
auto TrainingLoop::alone(Action&& action) {
  try {
    return action();
  } catch (const CommError&) {
    throw;
  } catch (const std::exception& error) {
    if (session_.size() > 1) {
      const std::string reason = fmt::format("rank {} failed: {}", session_.rank(), error.what());
      session_.world().poison(reason);
      session_.agreement().poison(reason);
    }
    throw;
  }
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace bunchtrain::train
