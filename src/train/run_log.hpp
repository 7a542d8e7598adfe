// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What rank 0 writes about a run: progress, metrics.jsonl, TensorBoard events,
/// run.json, curves, report.html.

#include <memory>
#include <optional>
#include <string>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/train/callback.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "settings.hpp"
#include "training_plan.hpp"

namespace bunchtrain::train {

/// The plan of a run as far as it is shown.
struct RunPlan {
  std::int64_t steps_per_epoch = 0;
  std::int64_t total_steps = 0;
  std::int64_t epochs = 0;
  std::int64_t first_step = 0;  ///< > 0 for a resumed run
  bool epoch_anew = false;      ///< the epoch that ends there is judged again
};

/// The written record of one run; on ranks other than 0 every call does nothing. It only watches: what cannot
/// be written costs a warning and is tried again at the next epoch, the training goes on.
class RunLog {
 public:
  RunLog(const Session& session, const RunFolder& folder, const std::string& samples, const RunPlan& plan);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  /// run.json and the card; printed as well.
  void describe(const TrainingPlan& plan, std::span<const TrainedNetwork> networks,
                const data::Dataset& train, const data::Dataset* valid,
                const std::map<std::string, std::string>& metadata);
  void step(const StepEvent& event, double samples_per_second);
  void validating(std::int64_t done, std::int64_t total);
  void epoch(const report::EpochRow& row, const std::optional<ValidationResult>& validation);
  void note(const std::string& line);
  /// report.html, the outcome in run.json and the closing table.
  void finish(const FitResult& result);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::train
