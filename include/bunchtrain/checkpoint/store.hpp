// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The checkpoints of a run: written so that a kill at any moment, a full disk or a damaged file costs one of
/// them at most.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/logger.hpp"

namespace bunchtrain::checkpoint {

struct StoreOptions {
  int keep_last = 3;
  bool keep_best = true;
  std::string metric = "valid_auc";  ///< name of what `best` means, for the manifest and messages
  bool higher_is_better = true;
  Logger logger = {};

  void validate() const;
};

/// What is saved. Replicated components are written by rank 0; every rank writes its own `rank_components`
/// (the same names on all ranks).
struct SaveRequest {
  std::int64_t step = 0;
  Components components;
  Components rank_components = {};
  Metadata metadata = {};
  std::optional<double> metric = {};
};

/// The folder `checkpoints/` of a run: step-000123/ folders, `latest` and `best` (text files that name one of
/// them).
///
/// Nothing is touched before the first `save`; a folder that does not exist is an empty store. A failed save
/// throws on every rank, removes what it had written and leaves the earlier snapshots as they were. Not
/// thread-safe.
class Store {
 public:
  Store(std::filesystem::path folder, comm::Communicator communicator, StoreOptions options = {});
  ~Store();
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;

  /// Collective. Writes, synchronises and publishes a snapshot, then removes those that are neither among the
  /// last nor the best. A snapshot of the same step is replaced. @throws CheckpointError with the system's
  /// reason and the ranks that failed.
  SnapshotInfo save(const SaveRequest& request);

  /// Collective. The newest valid snapshot; every damaged one met on the way is logged as a warning with its
  /// fault. Nothing if there is none: the run starts afresh. @throws CheckpointError if snapshots exist but
  /// none is valid, or if a rank cannot read what rank 0 found valid.
  std::optional<Snapshot> load_latest() const;
  /// Collective. The same for the valid snapshot with the best metric; the newest one if none has a metric.
  std::optional<Snapshot> load_best() const;

  const std::filesystem::path& folder() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::checkpoint
