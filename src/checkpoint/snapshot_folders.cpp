// SPDX-License-Identifier: Apache-2.0
#include "snapshot_folders.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kPartial = ".partial", kReplaced = ".replaced";

bool is_step_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

// "step-12.replaced" is a whole snapshot too, of a save that was killed between its two renames.
bool is_snapshot_name(std::string_view name) {
  if (name.ends_with(kReplaced)) name.remove_suffix(kReplaced.size());
  return is_step_name(name);
}

bool is_partial_name(std::string_view name) {
  return name.ends_with(kPartial) && is_snapshot_name(name.substr(0, name.size() - kPartial.size()));
}

fs::path with_suffix(fs::path path, std::string_view suffix) { return path += suffix; }

template <class Predicate>
std::vector<fs::path> entries_where(const fs::path& store, Predicate&& wanted) {
  std::vector<fs::path> found;
  if (!fs::is_directory(store)) return found;
  for (const fs::directory_entry& entry : fs::directory_iterator(store)) {
    if (wanted(entry.path().filename().string())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

Inventory take_inventory(const fs::path& store) {
  Inventory inventory;
  for (const fs::path& folder : entries_where(store, is_snapshot_name)) {
    try {
      if (!fs::is_directory(folder)) throw CheckpointError("it is a file; a snapshot is a folder");
      Manifest manifest = read_manifest(folder);
      (manifest.info.lost.empty() ? inventory.snapshots : inventory.lost).push_back(std::move(manifest));
    } catch (const IoError& error) {
      inventory.damaged.push_back({folder, error.message(), error.code()});
    } catch (const CheckpointError& error) {
      if (fs::exists(folder)) inventory.damaged.push_back({folder, error.message()});  // else: just removed
    }
  }
  std::sort(inventory.snapshots.begin(), inventory.snapshots.end(),
            [](const Manifest& a, const Manifest& b) { return a.info.sequence > b.info.sequence; });
  return inventory;
}

void put(Inventory& inventory, Manifest manifest) {
  drop(inventory, manifest.info.folder);
  auto& manifests = manifest.info.lost.empty() ? inventory.snapshots : inventory.lost;
  const auto earlier = std::ranges::find_if(
      manifests, [&](const Manifest& other) { return other.info.sequence < manifest.info.sequence; });
  manifests.insert(earlier, std::move(manifest));
}

void drop(Inventory& inventory, const fs::path& folder) {
  const auto is_there = [&](const Manifest& manifest) { return manifest.info.folder == folder; };
  std::erase_if(inventory.snapshots, is_there);
  std::erase_if(inventory.lost, is_there);
  std::erase_if(inventory.damaged, [&](const DamagedSnapshot& damaged) { return damaged.folder == folder; });
}

fs::path snapshot_folder(const fs::path& store, std::int64_t step) {
  return store / fmt::format("step-{:06}", step);
}

fs::path partial_folder(const fs::path& store, std::int64_t step) {
  return with_suffix(snapshot_folder(store, step), kPartial);
}

std::int64_t step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return is_snapshot_name(name) ? std::atoll(name.c_str() + kPrefix.size()) : -1;
}

void remove_torn_files(const fs::path& folder, std::string_view name) {
  const std::string prefix = fmt::format("{}.partial-", name);
  for (const fs::path& file :
       entries_where(folder, [&](std::string_view found) { return found.starts_with(prefix); }))
    fs::remove(file);
}

fs::path create_partial_folder(const fs::path& store, std::int64_t step) {
  const fs::path partial = partial_folder(store, step);
  fs::remove_all(partial);
  fs::create_directories(partial);
  return partial;
}

void clean_leftovers(const fs::path& store) {
  for (const char* pointer : {"latest", "best"}) remove_torn_files(store, pointer);
  for (const fs::path& partial : entries_where(store, is_partial_name)) fs::remove_all(partial);
  for (const fs::path& snapshot : entries_where(store, is_snapshot_name))
    remove_torn_files(snapshot, kManifestName);
  const auto is_replaced = [](std::string_view name) {
    return name.ends_with(kReplaced) && is_snapshot_name(name);
  };
  for (const fs::path& replaced : entries_where(store, is_replaced)) {
    const fs::path place = fs::path(replaced).replace_extension();
    if (fs::exists(place)) {
      remove_snapshot(replaced);
    } else {
      fs::rename(replaced, place);
    }
  }
}

void publish(const fs::path& store, std::int64_t step) {
  const fs::path place = snapshot_folder(store, step), replaced = with_suffix(place, kReplaced);
  if (fs::exists(place)) fs::rename(place, replaced);
  fs::rename(partial_folder(store, step), place);
  synchronise_folder(store);  // a rename is on the disk only when its folder is
  if (fs::exists(replaced)) remove_snapshot(replaced);
}

void remove_snapshot(const fs::path& folder) {
  const fs::path partial = with_suffix(folder, kPartial);
  fs::rename(folder, partial);
  fs::remove_all(partial);
}

}  // namespace bunchtrain::checkpoint
