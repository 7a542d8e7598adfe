// SPDX-License-Identifier: Apache-2.0
#include "tier.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "bunchtrain/core/atomic_file.hpp"
#include "retention.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

std::int64_t next_sequence(const Inventory& inventory) {
  std::int64_t greatest = 0;
  for (const auto* manifests : {&inventory.snapshots, &inventory.lost})
    for (const Manifest& manifest : *manifests) greatest = std::max(greatest, manifest.info.sequence);
  return greatest + 1;
}

Manifest find_manifest(const Inventory& inventory, const fs::path& folder) {
  for (const auto* manifests : {&inventory.snapshots, &inventory.lost})
    for (const Manifest& manifest : *manifests)
      if (manifest.info.folder == folder) return manifest;
  return read_manifest(folder);  // says what is wrong with it
}

/// As a manifest keeps it.
void forget_if_not_finite(std::optional<double>& metric) {
  if (metric && !std::isfinite(*metric)) metric.reset();
}

}  // namespace

void add_judgement(Manifest& manifest, const Judgement& judgement) {
  manifest.info.judged = true;
  manifest.info.lost = judgement.lost;
  if (judgement.metric) manifest.info.metric = judgement.metric;
  forget_if_not_finite(manifest.info.metric);
  if (!judgement.metric_name.empty()) manifest.metric_name = judgement.metric_name;
  for (const auto& [name, text] : judgement.metadata) manifest.info.metadata[name] = text;
}

std::int64_t Tier::look() {
  inventory_ = take_inventory(folder_);
  known_ = true;
  return next_sequence(inventory_);
}

void Tier::make_place(std::int64_t step) {
  clean_leftovers(folder_);
  if (!known_) look();
  create_partial_folder(folder_, step);
}

std::int64_t Tier::begin_save(std::int64_t step) {
  clean_leftovers(folder_);
  const std::int64_t sequence = look();
  create_partial_folder(folder_, step);  // last: what fails before it leaves nothing
  return sequence;
}

void Tier::publish(Manifest& manifest) {
  forget_if_not_finite(manifest.info.metric);
  manifest.info.hash = write_manifest(partial_folder(folder_, manifest.info.step), manifest);
  bunchtrain::checkpoint::publish(folder_, manifest.info.step);
  manifest.info.folder = snapshot_folder(folder_, manifest.info.step);
  put(inventory_, manifest);
}

void Tier::judge(std::int64_t step, const Judgement& judgement) {
  const fs::path place = snapshot_folder(folder_, step);
  remove_torn_files(place, kManifestName);
  Manifest manifest = find_manifest(inventory(), place);
  add_judgement(manifest, judgement);
  manifest.info.hash = write_manifest(place, manifest);
  put(inventory_, std::move(manifest));
}

const Inventory& Tier::inventory() {
  if (!known_) inventory_ = take_inventory(folder_);
  return inventory_;
}

void Tier::tidy() {
  if (inventory_.snapshots.empty()) return;
  const Manifest& newest = inventory_.snapshots.front();
  point("latest", newest);
  if (options_.keep_best > 0)
    if (const auto bests = find_bests(inventory_.snapshots); !bests.empty()) point("best", *bests.front());
  prune();
}

void Tier::prune(std::int64_t but) {
  if (inventory_.snapshots.empty()) return;
  std::vector<fs::path> old;
  for (const Manifest* manifest : find_superfluous(inventory_.snapshots, options_))
    if (manifest->info.step != but) old.push_back(manifest->info.folder);
  for (const Manifest& lost : inventory_.lost)
    if (lost.info.sequence < inventory_.snapshots.front().info.sequence) old.push_back(lost.info.folder);
  for (const fs::path& folder : old) remove(folder);
}

void Tier::tidy_up() {
  try_to("tidy up", [&] {
    clean_leftovers(folder_);
    inventory();
    tidy();
  });
}

void Tier::point(std::string_view pointer, const Manifest& target) {
  const std::string name = target.info.folder.filename().string();
  if (const auto before = pointed_.find(pointer); before != pointed_.end() && before->second == name) return;
  try_to(fmt::format("update '{}'", pointer), [&] {
    write_file_atomically(folder_ / pointer, name + '\n');
    pointed_.insert_or_assign(std::string(pointer), name);
  });
}

void Tier::remove(const fs::path& snapshot) {
  try_to("remove an old checkpoint", [&] {
    remove_snapshot(snapshot);
    drop(inventory_, snapshot);
  });
}

void Tier::try_to(std::string_view doing, const std::function<void()>& action) const {
  try {
    action();
  } catch (const std::exception& error) {
    options_.logger.warning(fmt::format("cannot {} in {}: {}", doing, folder_.string(), error.what()));
  }
}

}  // namespace bunchtrain::checkpoint
