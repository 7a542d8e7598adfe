// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One complete checkpoint on disk: a folder of safetensors files with a manifest.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "bunchtrain/tensor/state_dict.hpp"

namespace bunchtrain::checkpoint {

/// States by component: "model", "optimizer", "schedule", "loader", "random" ...
using Components = std::map<std::string, StateDict, std::less<>>;
/// Parts of tensors that somebody wants instead of the whole, by component and name.
using WantedSlices = std::map<std::string, std::map<std::string, tensor::Slice, std::less<>>, std::less<>>;
using Metadata = std::map<std::string, std::string>;

/// What a snapshot says about itself, without its tensors.
struct SnapshotInfo {
  std::filesystem::path folder;
  std::int64_t step = 0;
  /// Counts the saves of a store, also over resumed runs: the greatest is the latest.
  std::int64_t sequence = 0;
  int world = 1;  ///< ranks that wrote it
  /// When its state was taken, by the clock of rank 0; nothing of snapshots before format 2 had it.
  std::optional<std::chrono::sys_seconds> saved_at = {};
  std::optional<double> metric = {};
  /// False as long as nothing has shown that its weights are good: its validation is still to come.
  bool judged = true;
  /// Why its weights are of no use ("the loss of step 7 is not finite"); empty:
  /// nothing is known against them.
  std::string lost = {};
  Metadata metadata = {};
  std::string hash;  ///< XXH3-128 of the manifest, which holds the hashes of all files
};

/// A snapshot in memory.
struct Snapshot {
  SnapshotInfo info;
  Components components;  ///< state that the ranks have in common, whole or the parts that were wanted
  Components
      rank_components;  ///< this rank's own; empty if the snapshot was written by another number of ranks
};

/// The manifest alone. @throws CheckpointError naming what is missing or damaged.
SnapshotInfo read_info(const std::filesystem::path& folder);
/// Checks the size and checksum of every file. @throws CheckpointError naming the first damaged one.
void verify(const std::filesystem::path& folder);
/// Verifies and reads everything that rank `rank` of `world` needs, whatever ranks and layout wrote it. @throws
/// CheckpointError
Snapshot read_snapshot(const std::filesystem::path& folder, int rank = 0, int world = 1,
                       const WantedSlices& slices = {});

}  // namespace bunchtrain::checkpoint
