// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The loop of `Trainer::fit`: one step, one epoch, the whole run.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "averages.hpp"
#include "bunchtrain/checkpoint/host_copies.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "captured_steps.hpp"
#include "convolution_record.hpp"
#include "run_observers.hpp"
#include "run_snapshots.hpp"
#include "run_state.hpp"
#include "sample_metrics.hpp"
#include "settings.hpp"
#include "step_in_flight.hpp"
#include "step_number.hpp"
#include "training_plan.hpp"

namespace bunchtrain::train {

inline const std::string kCallbackPrefix = "callback.";  ///< of names in a snapshot's metadata

/// What is trained and how, fixed for the run.
struct TrainingTask {
  std::vector<TrainedNetwork> networks;
  nn::Objective objective;  ///< of one network; empty if `manual_step` is set
  ManualStep manual_step;
  std::shared_ptr<Validation> validation;  ///< may be null
  bool by_default = false;                 ///< that of a classifier, if the data have classes
  std::vector<NamedSampleMetric> metrics;  ///< of the user, beside those of the validation
  TrainerOptions options;
  std::vector<std::shared_ptr<Callback>> callbacks;
};

/// Runs one training. Collective throughout.
///
/// A step has two halves: it is enqueued, and it is settled, which reads its losses, agrees on them with the
/// other ranks and acts on them. On a GPU the next step is enqueued in between. All steps are settled before
/// anything looks at the networks: snapshots, comparisons of replicas, the end of an epoch, a stop.
class TrainingLoop {
 public:
  TrainingLoop(Session& session, TrainingTask task, TrainingPlan plan, const data::DatasetPtr& train,
               const data::DatasetPtr& valid);
  FitResult run();

 private:
  /// What all ranks agreed to do once the newest step is settled.
  struct Wishes {
    bool stop = false;
    bool save = false;
    bool finish = false;
    bool validate = false;
    bool halted = false;    ///< a callback of some rank says so
    bool commit = false;    ///< the files of the snapshot in flight are written on all ranks
    bool uploaded = false;  ///< those of the one on its way from the nodes are in the run folder
    Verdict of_rank = {};   ///< the reasons that this rank has
    std::string halt = {};  ///< why
    std::int64_t halt_step = 0;

    /// Whether the networks are looked at; a snapshot in flight has its copies.
    bool any() const noexcept { return stop || save || finish || validate || halted || !halt.empty(); }
    void add(const Wishes& later);
  };
  struct StepOutcome {
    StepEvent event;
    Wishes wishes;
  };

  void scale_losses();
  void resume();
  bool all_steps_done() const noexcept { return state_.planned_step() >= plan_.length.total_steps; }
  /// All steps are done and judged.
  bool finished() const noexcept { return all_steps_done() && !state_.epoch_trained; }
  RunDescription describe();
  void choose_convolutions();
  void finish_choosing();
  void run_epoch();
  std::optional<Batch> next_batch();
  bool epoch_done() const noexcept;
  bool must_be_settled() const noexcept;
  bool replicas_due() const noexcept;
  void settle(std::size_t left);
  void act_on(const Wishes& wishes);
  [[noreturn]] void halt(const std::string& reason, std::int64_t step);
  void enqueue_step(const Batch& batch, double data_seconds);
  StepOutcome settle_oldest();
  void count_times(const StepInFlight& step);
  void count_bad(std::int64_t of_step);
  void tell_bad();
  device::LateSeconds total_exposed() const;
  std::vector<double> sum_over_ranks(std::vector<double> of_rank);
  void append_logged(const std::vector<LoggedSum>& of_rank, std::vector<double>& sums) const;
  std::vector<report::NamedValue> read_logged(const std::vector<LoggedSum>& of_rank,
                                              std::span<const double> sums);
  report::StepSplit mean_split();
  report::LoaderSplit loader_split();
  void train_on(const Batch& batch, StepInFlight& step);
  void run_passes(const Batch& batch, StepInFlight& step);
  bool run_captured(const Batch& batch, const optim::StepOptions& update, StepInFlight& step);
  void run_manual_step(const Batch& batch, StepInFlight& step);
  void require_finite(const StepEvent& event);
  void leave_out(const StepEvent& event);
  void follow_loss_scale(const StepEvent& event);
  bool validation_due() const noexcept;
  void synchronize_buffers();
  void validate_within_epoch();
  std::int64_t unseen_steps() const;
  void finish_epoch();
  report::EpochRow make_row();
  bool judges() const noexcept { return task_.validation || task_.objective || !task_.metrics.empty(); }
  std::optional<ValidationResult> judge();
  void save();
  /// Whether the steps wait for files that are not written yet.
  enum class Commit { waits, is_due };
  void commit_snapshot(Commit how = Commit::waits);
  void tell_pace();
  void keep_bundle(const ValidationResult& found);
  std::string agreed_lost_weights(const CapturedState& captured) const;
  std::map<std::string, std::string> callback_states() const;
  Verdict verdict() const;
  std::string agreed(const std::string& reason) const;
  std::string agreed_wish_to_finish() const { return agreed(verdict().finish); }
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
  std::shared_ptr<data::Staging> staging_;  ///< null: files are read where they are
  data::DataLoader loader_;
  std::optional<data::DataLoader> valid_loader_;
  checkpoint::HostCopies copies_;  ///< of the snapshot that is being written
  RunSnapshots snapshots_;
  RunState state_;
  std::unique_ptr<RunObservers> observers_;
  std::optional<ConvolutionRecord> convolutions_;  ///< until the first step, on a GPU
  Averages averages_;
  StepNumber step_number_;
  CapturedSteps captured_;
  std::vector<std::string> logged_names_;  ///< that any rank has logged so far, in one order on all
  bool validation_missing_ = false;        ///< of the step that a resumed run goes on from
  std::optional<ValidationResult> validation_;
  FitResult result_;
  std::size_t run_ahead_;  ///< steps that may be in flight while the next is enqueued
  std::deque<StepInFlight> in_flight_;
  std::optional<device::Moment> last_end_;  ///< of the step settled last, if nothing came in between
  bool gradients_seen_ = false;             ///< whether somebody looked at those of the step settled last
  bool pace_told_ = false;                  ///< how often snapshots are written
  bool update_applied_ = true;              ///< false: they are not finite
  bool losses_scaled_ = false;              ///< so that a step may be left out
  double loss_scale_ = 1;                   ///< the smallest, after the step settled last
  std::int64_t first_fall_ = 0;             ///< the step since which every one made the scale fall; 0: none
  double exposed_ = 0;                      ///< seconds that it spent on collectives
  double exposed_before_ = 0;               ///< the same of all steps settled
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

/// Its losses.
inline bool is_finite(const StepEvent& event) {
  return std::isfinite(event.loss) &&
         std::ranges::all_of(event.terms, [](const auto& term) { return std::isfinite(term.value); });
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace bunchtrain::train
