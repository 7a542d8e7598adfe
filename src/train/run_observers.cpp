// SPDX-License-Identifier: Apache-2.0
#include "run_observers.hpp"

#include <fmt/format.h>

#include <exception>
#include <set>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

RunObservers::RunObservers(const Session& session, const RunFolder& folder) : logger_(session.logger()) {
  std::set<std::string> names;
  const auto add = [&](const ObserverPtr& observer) {
    if (!names.insert(observer->name()).second)
      throw ConfigError("observer", observer->name(), "a name that no other observer of the run has");
    if (session.is_root()) observers_.push_back({observer});
  };
  for (const auto& observer : run_folder_observers(session, folder)) add(observer);
  for (const auto& observer : session.observers()) add(observer);
}

RunObservers::~RunObservers() {
  for (const auto& told : observers_) told.observer->on_end();
}

void RunObservers::tell(const std::function<void(Observer&)>& what) {
  for (auto& told : observers_) {
    try {
      what(*told.observer);
    } catch (const std::exception& error) {
      if (!std::exchange(told.failed, true))
        logger_.warning(
            fmt::format("observer '{}' failed: {}; the run goes on", told.observer->name(), error.what()));
    }
  }
}

void RunObservers::start(const RunPlan& plan, const RunDescription& description) {
  tell([&](Observer& observer) { observer.on_start(plan, description); });
}
void RunObservers::step(const StepEvent& event) {
  tell([&](Observer& observer) { observer.on_step(event); });
}
void RunObservers::phase(std::string_view phase, std::int64_t done, std::int64_t total) {
  tell([&](Observer& observer) { observer.on_phase(phase, done, total); });
}
void RunObservers::validation(const ValidationEvent& event) {
  tell([&](Observer& observer) { observer.on_validation(event); });
}
void RunObservers::epoch(const report::EpochRow& row, const ValidationResult* validation) {
  tell([&](Observer& observer) { observer.on_epoch(row, validation); });
}
void RunObservers::snapshot_pace(const SnapshotPace& pace) {
  tell([&](Observer& observer) { observer.on_snapshot_pace(pace); });
}
void RunObservers::note(const std::string& line) {
  tell([&](Observer& observer) { observer.on_note(line); });
}
void RunObservers::finish(const FitResult& result) {
  tell([&](Observer& observer) { observer.on_finish(result); });
}

}  // namespace bunchtrain::train
