// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The observers of one run.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/train/observer.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::train {

using ObserverPtr = std::shared_ptr<Observer>;

/// What writes the files of a run folder: metrics.jsonl, TensorBoard events, run.json with the card,
/// report.html. What one cannot write it tries again later, for one warning per file.
std::vector<ObserverPtr> run_folder_observers(const Session& session, const RunFolder& folder);

/// Tells all observers of a run, those of its folder and those of the session. On ranks other than 0 every
/// call does nothing.
class RunObservers {
 public:
  /// @throws ConfigError for two of one name.
  RunObservers(const Session& session, const RunFolder& folder);
  ~RunObservers();
  RunObservers(const RunObservers&) = delete;
  RunObservers& operator=(const RunObservers&) = delete;

  bool empty() const noexcept { return observers_.empty(); }
  void start(const RunPlan& plan, const RunDescription& description);
  void step(const StepEvent& event);
  void phase(std::string_view phase, std::int64_t done, std::int64_t total);
  void validation(const ValidationEvent& event);
  void epoch(const report::EpochRow& row, const ValidationResult* validation);
  void snapshot_pace(const SnapshotPace& pace);
  void note(const std::string& line);
  void finish(const FitResult& result);

 private:
  void tell(const std::function<void(Observer&)>& what);

  struct Told {
    ObserverPtr observer;
    bool failed = false;  ///< and a warning said so
  };

  std::vector<Told> observers_;
  Logger logger_;
};

}  // namespace bunchtrain::train
