// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Hooks into a training run.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/train/manual_step.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {

/// What happened in one optimizer step. On the CPU it is told before the next step begins. On a GPU the host
/// does not wait for losses: a step is told when the next one is already enqueued, so that the networks may
/// be one step further (`TrainerOptions::run_ahead`); before snapshots and validations all steps are told.
struct StepEvent {
  std::int64_t step = 0;   ///< optimizer steps done, from 1
  std::int64_t epoch = 0;  ///< from 0
  double loss = 0;         ///< mean over the samples of all ranks
  double learning_rate = 0;
  double samples_per_second = 0;  ///< of all ranks, since this process took the epoch up
  /// Of all networks' gradients before clipping; NaN where nobody looks: for a `ManualStep`. Not finite if
  /// the step was left out (see `loss_scale`).
  double gradient_norm = std::numeric_limits<double>::quiet_NaN();
  /// What the losses of the next step are scaled with, in precision float16: the smallest of the networks'.
  /// It falls when a step is left out because its gradients are not finite. 1 in other precisions.
  double loss_scale = 1;
  std::vector<report::NamedValue> logged = {};  ///< by `Session::log`: means over all calls of all ranks
  std::vector<LossTerm> terms = {};             ///< of a `ManualStep`: means over the samples of all ranks
};

/// What a callback wants of the run; nothing: that it goes on.
struct Verdict {
  bool validate = false;    ///< judge the networks, after a snapshot
  bool save = false;        ///< write a snapshot
  std::string finish = {};  ///< why the run should end in order: snapshot, validation, table, exit code 0
  std::string halt = {};    ///< why it leads nowhere: snapshot and TrainingHalted, exit code 1
};

/// Called on every rank, in the order of registration. An exception ends the run as a failure; to end it
/// early and in order there is `verdict`. Override what is needed.
class Callback {
 public:
  virtual ~Callback() = default;
  virtual void on_step(const StepEvent&) {}
  /// After every validation, before `on_epoch`.
  virtual void on_validation(const ValidationResult&) {}
  virtual void on_epoch(const report::EpochRow&) {}
  /// After every snapshot; that of an epoch's end comes before its validation. Gets the snapshot's folder in the run folder. With
  /// a folder on each node (`StoreOptions::local`) it is on its way there: it may not exist yet, and never will if a newer one
  /// overtakes it.
  virtual void on_checkpoint(const std::filesystem::path&) {}

  /// What should happen now: asked after every step, after every epoch and when a run is resumed. What any
  /// callback of any rank wants happens on all of them, after the step that follows at the latest, on a GPU one
  /// step later.
  virtual Verdict verdict() const { return {}; }

  /// What must survive a resume is kept in every snapshot under this name (rank 0's state, the same on all
  /// ranks); a callback without a name keeps nothing.
  virtual std::string name() const { return {}; }
  virtual std::string state() const { return {}; }
  virtual void load(const std::string& /*state*/) {}
};

}  // namespace bunchtrain::train
