// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How often a run may write a snapshot without losing more time to it than it is allowed to.

#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/report/section.hpp"
#include "bunchtrain/train/observer.hpp"
#include "bunchtrain/train/training_choices.hpp"

namespace bunchtrain::train {

/// Measures what one snapshot takes from the steps: its copy, the commit that all ranks make together, and by how much the steps
/// beside which it is written are slower than others. Rank 0 decides by its own clock, which the others wait for anyway; that a
/// snapshot is due travels with the losses of a step.
class SnapshotPacer {
 public:
  explicit SnapshotPacer(const CheckpointInterval& interval) : interval_(interval) {}

  /// A step that took so long, copies and commits apart. @param writing whether a snapshot was written beside it
  void count_step(double seconds, bool writing);
  /// The copy was taken, in so long.
  void count_copy(double seconds);
  /// It was committed, in so long. @param waited the steps stood still for what was not written yet
  void count_commit(double seconds, bool waited);
  /// Whether the first one is due, which is measured: after a few steps.
  bool probe_due() const noexcept;
  /// Known once a snapshot was measured; of the newest one.
  const std::optional<SnapshotPace>& pace() const noexcept { return pace_; }

 private:
  struct Steps {
    double seconds = 0;
    std::int64_t count = 0;
    double mean() const noexcept { return count > 0 ? seconds / static_cast<double>(count) : 0; }
  };

  CheckpointInterval interval_;
  Steps undisturbed_;
  Steps beside_;                     ///< the snapshot that is being measured
  std::optional<double> copy_ = {};  ///< of that
  std::int64_t steps_ = 0;           ///< since the newest snapshot
  std::optional<SnapshotPace> pace_ = {};
  bool pace_waited_ = false;
};

/// run.json with what was measured.
std::string with_pace(const std::string& json, const SnapshotPace& pace);
/// The section of a page that says it; nothing if the text, a run.json, does not.
std::optional<report::Section> pace_section(const std::string& json);
/// "every 4m12s: one takes 0.31 s from the steps (...)"
std::string to_string(const SnapshotPace& pace);

}  // namespace bunchtrain::train
