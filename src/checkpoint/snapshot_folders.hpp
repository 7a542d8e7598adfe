// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The folders of a store: their names, which are snapshots, which are leftovers, how one
/// is published or removed.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "manifest.hpp"

namespace bunchtrain::checkpoint {

/// A snapshot that cannot be used and why.
struct DamagedSnapshot {
  std::filesystem::path folder;
  std::string fault;
  int system_code = 0;  ///< errno, if the system refused to read it for a reason that may pass
};

/// What a store's folder holds. Manifests are read, files not yet verified.
struct Inventory {
  std::vector<Manifest> snapshots;  ///< latest first
  std::vector<Manifest> lost;       ///< intact, but their weights are known to be of no use
  std::vector<DamagedSnapshot> damaged;
};

/// Empty for a folder that does not exist.
Inventory take_inventory(const std::filesystem::path& store);

/// Adds a snapshot in its place, instead of what was there in its folder.
void put(Inventory& inventory, Manifest manifest);
/// Takes out what is in `folder`.
void drop(Inventory& inventory, const std::filesystem::path& folder);

/// step-000123
std::filesystem::path snapshot_folder(const std::filesystem::path& store, std::int64_t step);
/// step-000123.partial
std::filesystem::path partial_folder(const std::filesystem::path& store, std::int64_t step);
/// The same, new and empty: what stood there is removed.
std::filesystem::path create_partial_folder(const std::filesystem::path& store, std::int64_t step);
/// The step that the name of a snapshot's folder tells; -1 if none.
std::int64_t step_of(const std::filesystem::path& folder);
/// Removes "NAME.partial-PID" of `folder`: a file whose writer was killed before the rename.
void remove_torn_files(const std::filesystem::path& folder, std::string_view name);
/// Removes what killed saves left behind. Only for the owner of the run folder.
void clean_leftovers(const std::filesystem::path& store);
/// Moves a finished partial folder to its place. At any moment either the old or the new snapshot of the step
/// can be found.
void publish(const std::filesystem::path& store, std::int64_t step);
/// Removes a snapshot so that a kill in between leaves a leftover, not a damaged snapshot.
void remove_snapshot(const std::filesystem::path& folder);

}  // namespace bunchtrain::checkpoint
