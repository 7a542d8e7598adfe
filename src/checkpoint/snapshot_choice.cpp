// SPDX-License-Identifier: Apache-2.0
#include "snapshot_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "retention.hpp"
#include "snapshot_folders.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr int kAttempts = 5;  ///< a training that goes on may remove the snapshot that was just chosen

std::string name_of(const fs::path& folder) { return folder.filename().string(); }

void warn_left_out(const Logger& logger, const fs::path& folder, std::string_view fault) {
  logger.warning(fmt::format("checkpoint {} is left out: {}", folder.string(), fault));
}

[[noreturn]] void refuse_all(const std::vector<DamagedSnapshot>& damaged) {
  std::string faults;
  for (const auto& [folder, fault, code] : damaged)
    faults += fmt::format("\n  {}: {}", name_of(folder), fault);
  for (const DamagedSnapshot& snapshot : damaged) {
    if (snapshot.system_code != 0)
      throw IoError(fmt::format("none of the {} checkpoints can be read:{}", damaged.size(), faults),
                    snapshot.system_code);
  }
  throw CheckpointError(fmt::format("none of the {} checkpoints is intact; move them away to start afresh:{}",
                                    damaged.size(), faults));
}

std::optional<DamagedSnapshot> find_damage(const Manifest& manifest) {
  try {
    verify_files(manifest);
    return std::nullopt;
  } catch (const IoError& error) {
    return DamagedSnapshot{manifest.info.folder, error.message(), error.code()};
  } catch (const CheckpointError& error) {
    return DamagedSnapshot{manifest.info.folder, error.message()};
  }
}

/// What walking back costs.
void warn_steps_lost(const Logger& logger, std::int64_t step, const std::vector<DamagedSnapshot>& damaged) {
  std::int64_t newest = step;
  for (const DamagedSnapshot& snapshot : damaged) newest = std::max(newest, step_of(snapshot.folder));
  if (newest > step)
    logger.warning(
        fmt::format("going on from step {}: what was trained up to step {} is trained again", step, newest));
}

/// The snapshot that a pointer file names; empty if it cannot be read.
std::string read_pointer(const fs::path& store, std::string_view pointer) {
  try {
    std::string name = read_text_file(store / pointer);
    name.erase(name.find_last_not_of(" \n\r\t") + 1);
    return name;
  } catch (const Error&) {
    return {};
  }
}

/// What a user may ask for instead.
std::string alternatives(const Inventory& inventory, std::string_view but) {
  std::vector<std::string> names;
  for (const Manifest& manifest : inventory.snapshots)
    if (name_of(manifest.info.folder) != but) names.push_back(name_of(manifest.info.folder));
  std::ranges::sort(names);
  return names.empty()
             ? "there is no other one"
             : fmt::format("choose another by {}: {}", setting("checkpoint"), fmt::join(names, ", "));
}

[[noreturn]] void refuse(std::string_view which, const fs::path& folder, std::string_view fault,
                         const Inventory& inventory) {
  const std::string name = name_of(folder);
  const std::string asked = which == name ? name : fmt::format("{}, the {} one,", name, which);
  throw CheckpointError(
      fmt::format("checkpoint {} cannot be used: {}; {}", asked, fault, alternatives(inventory, name)));
}

/// "latest" and "best". A manifest that cannot be read may be that of the one asked for: then the pointer
/// file decides, and without it nobody knows.
const Manifest& find_by_rank(const fs::path& store, std::string_view which, const Inventory& inventory) {
  const Manifest* found = inventory.snapshots.empty() ? nullptr : &inventory.snapshots.front();
  if (which == "best")
    if (const auto bests = find_bests(inventory.snapshots); !bests.empty()) found = bests.front();
  std::string pointed = read_pointer(store, which);
  if (pointed.empty()) pointed = read_pointer(store, "latest");
  for (const auto& [folder, fault, code] : inventory.damaged) {
    if (found && pointed == name_of(found->info.folder)) break;
    refuse(which, folder, fault, inventory);
  }
  if (!found) refuse(which, inventory.lost.front().info.folder, inventory.lost.front().info.lost, inventory);
  return *found;
}

const Manifest& find_by_name(std::string_view name, const Inventory& inventory) {
  for (const auto* manifests : {&inventory.snapshots, &inventory.lost})
    for (const Manifest& manifest : *manifests)
      if (name_of(manifest.info.folder) == name) return manifest;
  for (const auto& [folder, fault, code] : inventory.damaged)
    if (name_of(folder) == name) refuse(name, folder, fault, inventory);
  std::vector<std::string> names = {"latest", "best"};
  for (const Manifest& manifest : inventory.snapshots) names.push_back(name_of(manifest.info.folder));
  throw ConfigError("checkpoint", name, fmt::format("{}", fmt::join(names, ", ")));
}

}  // namespace

std::string choose_newest(const fs::path& store, const Logger& logger) {
  Inventory inventory = take_inventory(store);
  for (const auto& [snapshot, fault, code] : inventory.damaged) warn_left_out(logger, snapshot, fault);
  for (const Manifest& manifest : inventory.lost)
    warn_left_out(logger, manifest.info.folder, manifest.info.lost);
  for (const Manifest& candidate : inventory.snapshots) {
    if (auto damage = find_damage(candidate)) {
      warn_left_out(logger, damage->folder, damage->fault);
      inventory.damaged.push_back(std::move(*damage));
      continue;
    }
    warn_steps_lost(logger, candidate.info.step, inventory.damaged);
    return name_of(candidate.info.folder);
  }
  if (!inventory.damaged.empty()) refuse_all(inventory.damaged);
  return {};
}

std::string choose_exactly(const fs::path& store, std::string_view which, const ComponentNames& wanted) {
  for (int attempt = 1;; ++attempt) {
    const Inventory inventory = take_inventory(store);
    if (inventory.snapshots.empty() && inventory.lost.empty() && inventory.damaged.empty()) return {};
    const bool by_rank = which == "latest" || which == "best";
    const Manifest& chosen = by_rank ? find_by_rank(store, which, inventory) : find_by_name(which, inventory);
    try {
      verify_files(chosen, wanted);
      return name_of(chosen.info.folder);
    } catch (const CheckpointError& error) {
      const bool removed = by_rank && !fs::exists(chosen.info.folder);
      if (!removed || attempt == kAttempts) refuse(which, chosen.info.folder, error.message(), inventory);
    }
  }
}

}  // namespace bunchtrain::checkpoint
