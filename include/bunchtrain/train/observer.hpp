// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Who watches a run: progress on a terminal, the files of the run folder, a user's own.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/train/callback.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {

struct FitResult;

/// The plan of a run as far as it is shown.
struct RunPlan {
  std::int64_t steps_per_epoch = 0;
  std::int64_t total_steps = 0;
  std::int64_t epochs = 0;
  std::int64_t first_step = 0;   ///< > 0 for a resumed run
  bool epoch_anew = false;       ///< the epoch that ends there is judged again
  std::string samples = "jets";  ///< what a sample is called
};

/// What a run is, for people and for run.json.
struct RunDescription {
  std::vector<std::string> lines;  ///< ranks, device, threads, data, plan
  std::string json;                ///< run.json
  std::string card;                ///< resolved data card as TOML, empty without one
};

/// What a snapshot takes from the steps, measured, and how often one is written therefore (`CheckpointInterval::automatic`).
struct SnapshotPace {
  double interval_seconds = 0;
  double step_seconds = 0;      ///< of a step beside which nothing is written
  double copy_seconds = 0;      ///< of the state, in the step
  double commit_seconds = 0;    ///< by all ranks together, in a later step
  double slowdown_seconds = 0;  ///< of the steps while threads write, all of them
  double most_stolen = 0;       ///< share of the time that snapshots may take

  double stolen_seconds() const noexcept { return copy_seconds + commit_seconds + slowdown_seconds; }
};

/// A validation within an epoch.
struct ValidationEvent {
  std::int64_t step;   ///< optimizer steps done
  std::int64_t epoch;  ///< from 0
  const ValidationResult& result;
};

/// Sees a run on rank 0 and cannot change it: what an observer throws costs a warning, and the run goes on. (A
/// `Callback` sees it on all ranks, may end it and has state in the snapshots.) Override what is needed.
class Observer {
 public:
  virtual ~Observer() = default;
  /// "progress": for warnings; no two of a run have the same.
  virtual std::string name() const = 0;
  /// Before the first step.
  virtual void on_start(const RunPlan&, const RunDescription&) {}
  virtual void on_step(const StepEvent&) {}
  /// Something besides steps is going on: "validating", 12 of 40 batches.
  virtual void on_phase(std::string_view /*phase*/, std::int64_t /*done*/, std::int64_t /*total*/) {}
  /// Within an epoch (`--validate-every`); that of its end comes by `on_epoch`.
  virtual void on_validation(const ValidationEvent&) {}
  /// The second is null without a validation.
  virtual void on_epoch(const report::EpochRow&, const ValidationResult* /*validation*/) {}
  /// Once, as soon as it is known how often snapshots are written.
  virtual void on_snapshot_pace(const SnapshotPace&) {}
  /// A line for people.
  virtual void on_note(const std::string&) {}
  virtual void on_finish(const FitResult&) {}
  /// The run is over, by an error too. Must not throw.
  virtual void on_end() noexcept {}
};

}  // namespace bunchtrain::train
