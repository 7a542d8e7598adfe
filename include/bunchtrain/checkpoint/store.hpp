// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The checkpoints of a run: written so that a kill at any moment, a full disk or a damaged file costs one of
/// them at most.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/logger.hpp"

namespace bunchtrain::checkpoint {

/// Which snapshots stay: those that any of the three rules keeps. One whose weights nothing has judged yet never pushes out the
/// last good one.
struct StoreOptions {
  int keep_last = 3;  ///< the newest; at least 1
  int keep_best =
      1;  ///< of each metric that judged any; `best` is the first of the newest judgement's; 0 = none
  /// The oldest of every span of this length, counted from 1970 in UTC (24 h: one a day); 0 = none.
  std::chrono::seconds keep_every{0};
  /// A folder on each node's own disk. Snapshots are written and published there, where they count, and a thread brings the newest
  /// into the store's folder. Empty: they are written there at once. May differ from rank to rank.
  std::filesystem::path local = {};
  std::string metric = "valid_auc";  ///< name of what `best` means, for the manifest and messages
  bool higher_is_better = true;
  Logger logger = {};

  void validate() const;
};

/// What is saved. Of `components` a tensor is whole and the same on all ranks, or each rank gives its part of it
/// (`StateDict::set_slice`; together they are the whole, without an element twice). Each element is written by one rank: whole
/// tensors of large components are spread over the ranks. Every rank writes its own `rank_components` (the same names on all
/// ranks).
struct SaveRequest {
  std::int64_t step = 0;
  Components components;
  Components rank_components = {};
  Metadata metadata = {};
  std::optional<double> metric = {};
  bool judged = true;  ///< false: `judge` follows; until then the snapshot before is kept as well
};

/// What became known of a snapshot after it was saved.
struct Judgement {
  std::optional<double> metric = {};
  std::string metric_name = {};  ///< empty: that of the store's options
  Metadata metadata = {};        ///< goes beside the snapshot's own, or in the place of equal names
  std::string lost = {};         ///< not empty: why its weights are of no use; it is passed over from now on
};

/// The folder `checkpoints/` of a run: step-000123/ folders, `latest` and `best` (text
/// files that name one of them).
///
/// Nothing is touched before the first `save`; a folder that does not exist is an empty store. A
/// failed save throws on every rank, removes what it had written and leaves the earlier snapshots as
/// they were. Not thread-safe.
class Store {
 public:
  Store(std::filesystem::path folder, comm::Communicator communicator, StoreOptions options = {});
  ~Store();
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;

  /// Collective. Writes, synchronises and publishes a snapshot, then removes those that no rule keeps. The
  /// folder's manifests are read once per save, judgement included. A snapshot of the same step is replaced. @throws IoError if the system refused for a
  /// reason that may pass (a full disk), else CheckpointError; with the reason and the ranks that failed.
  SnapshotInfo save(SaveRequest request);

  /// Collective. A save whose files a thread of each rank writes while the caller goes on; `commit` ends it. Nobody may change
  /// the tensors of the request until then: give copies. One at a time. @throws as `save`.
  void begin(SaveRequest request);
  /// Whether a save was begun and is not ended. Not collective.
  bool saving() const noexcept;
  /// Whether this rank has written its files, or failed to. Not collective; never waits.
  bool written() const;
  /// Collective. Waits for the files of all ranks, then publishes the snapshot and removes old ones. A kill before that costs
  /// this snapshot alone. @throws as `save`, for what befell the thread of any rank too.
  SnapshotInfo commit();
  /// Collective. Ends a save that nobody wants any more (its weights are lost): waits for the threads, leaves nothing.
  void abandon();

  /// Collective. That the local folder can be made and written on every node. @throws ConfigError naming the node.
  void require_local() const;
  /// Whether a snapshot is on its way from the nodes to the store's folder. Not collective.
  bool uploading() const noexcept;
  /// Whether this rank has brought its files there, or failed to. Not collective; never waits.
  bool uploaded() const;
  /// Collective. Waits for all ranks' files, publishes the snapshot in the store's folder and begins with the newest that is not
  /// there. A fault is a warning: the snapshot stays on the nodes, and the next upload tries again.
  void finish_upload();
  /// Collective. Until the newest is there, or could not be brought there once more: before a job ends.
  void upload_all();

  /// Collective. Adds to the snapshot of `step`, by a new manifest alone, then chooses the best anew and
  /// removes old ones. @throws as `save`.
  void judge(std::int64_t step, const Judgement& judgement);
  /// Finishes what a kill interrupted: removes half-written and half-removed files, points to the latest and the
  /// best, removes old snapshots, and local ones once the newest is in the store's folder. Only for the owner of the run folder;
  /// what fails is a warning.
  void tidy_up() const;

  /// Collective. The newest valid snapshot, to go on from; every damaged or lost one met on the way is logged
  /// as a warning with its fault, and what that costs. Nothing if there is none: the run starts afresh.
  /// With a local folder, what the nodes have and the store's folder has not is brought there first; a node whose folder is gone
  /// has the others fall back to what is there. Of tensors that are named in `slices` this rank gets that part alone, whatever ranks wrote them.
  /// @throws CheckpointError if snapshots exist but none is valid, or if a rank cannot read what
  /// rank 0 found valid; IoError.
  std::optional<Snapshot> load_latest(const WantedSlices& slices = {}) const;
  /// Collective. The snapshot that is asked for and no other: "latest", "best" (that with the best metric;
  /// the newest one if none has a metric) or the name of one ("step-000123"). Of it only `components` are
  /// read and verified; none = all. Nothing if the store is empty.
  /// @throws CheckpointError if it is damaged or has no such component, naming what may be taken instead;
  /// ConfigError if there is none of that name; IoError.
  std::optional<Snapshot> load(std::string_view which, const std::vector<std::string>& components = {},
                               const WantedSlices& slices = {}) const;

  /// Collective. The steps of the snapshots that are neither damaged, as far as their manifests tell, nor
  /// lost; the newest first.
  std::vector<std::int64_t> steps() const;

  /// Collective. The step of the snapshot with the best metric; nothing if none has one.
  std::optional<std::int64_t> best() const;

  const std::filesystem::path& folder() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::checkpoint
