// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The snapshots of a run: when one is due, which weights are worth one, and what becomes known of them.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/train/session.hpp"
#include "run_state.hpp"
#include "settings.hpp"
#include "snapshot_pacer.hpp"

namespace bunchtrain::train {

/// Collective throughout, except `due`.
///
/// A snapshot is written before anybody has judged its weights. It counts as good once a later step or a
/// validation found loss and gradients finite; until then the one before stays, and if the weights prove to
/// be lost it is marked and never resumed from, or dropped if it is still being written.
class RunSnapshots {
 public:
  RunSnapshots(Session& session, const Settings& settings);

  /// The newest usable one, to go on from.
  std::optional<checkpoint::Snapshot> load_latest();
  /// Whether this rank wants a snapshot after `step`.
  bool due(std::int64_t step) const;
  /// Whether all ranks know beforehand that one is due then.
  bool planned(std::int64_t step) const noexcept { return every_.steps > 0 && step % every_.steps == 0; }
  /// Whether the newest one, which may be on its way, is of `step`.
  bool holds(std::int64_t step) const noexcept { return newest_ == step; }
  /// Whether the newest one is that which this process went on from.
  bool newest_was_loaded() const noexcept { return loaded_ >= 0 && loaded_ == newest_; }
  /// Begins one of `step`: a thread writes what was captured beside the steps that follow. One at a time.
  /// @throws IoError, CheckpointError
  void save(std::int64_t step, CapturedState state, checkpoint::Metadata metadata);
  /// Steps, copies and commits, for `--checkpoint-every auto`.
  SnapshotPacer& pacer() noexcept { return pacer_; }
  /// Whether one is begun and not ended.
  bool saving() const noexcept { return store_.saving(); }
  /// Whether this rank still writes. Not collective.
  bool writing() const { return store_.saving() && !store_.written(); }
  /// Whether one is on its way from the nodes to the run folder, and whether this rank still copies. Not collective.
  bool uploading() const noexcept { return store_.uploading(); }
  bool copying() const { return store_.uploading() && !store_.uploaded(); }
  /// Ends the copying of all ranks; a fault is a warning.
  void finish_upload() { store_.finish_upload(); }
  /// Before the job ends.
  void upload_all() { store_.upload_all(); }
  /// Ends what `save` began. Returns its folder. @throws as `save`.
  std::filesystem::path commit();
  /// Adds what the validation found to the snapshot of `step`.
  void judge(std::int64_t step, const checkpoint::Judgement& judgement) { store_.judge(step, judgement); }
  /// The step of the best one; nothing as long as none has a score.
  std::optional<std::int64_t> best() const { return store_.best(); }
  /// At the end of a run: a kill may have met one that had nothing left but this.
  void tidy_up() const { store_.tidy_up(); }
  /// Ends a run whose networks are lost since step `first_lost`: a snapshot from then on is of no use.
  /// @throws TrainingHalted saying from where the run can go on, and how.
  [[noreturn]] void halt(const std::string& reason, std::int64_t first_lost);

  const std::filesystem::path& folder() const noexcept { return store_.folder(); }
  /// Folder of the newest one.
  const std::filesystem::path& newest() const noexcept { return newest_folder_; }

 private:
  void mark_lost(std::int64_t step, const std::string& reason);

  Session& session_;
  CheckpointInterval every_;
  SnapshotPacer pacer_{every_};
  checkpoint::Store store_;
  std::int64_t newest_ = -1, loaded_ = -1;
  std::filesystem::path newest_folder_;
  std::chrono::steady_clock::time_point saved_at_ = std::chrono::steady_clock::now();
};

}  // namespace bunchtrain::train
