// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/store.hpp"

#include <fmt/core.h>

#include <cmath>
#include <functional>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "snapshot_files.hpp"
#include "snapshot_folders.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

std::string join_faults(const std::vector<DamagedSnapshot>& damaged) {
  std::string text;
  for (const DamagedSnapshot& snapshot : damaged)
    text += fmt::format("\n  {}: {}", snapshot.folder.filename().string(), snapshot.fault);
  return text;
}

}  // namespace

void StoreOptions::validate() const {
  if (keep_last < 1) throw ConfigError("keep_last", std::to_string(keep_last), "1 or more");
  if (keep_best && metric.empty())
    throw ConfigError("metric", "", "the name of a metric, since keep_best is on");
}

struct Store::Impl {
  fs::path folder;
  comm::Communicator communicator;
  StoreOptions options;

  const mpi::Comm& control() const { return communicator.control(); }
  bool is_writer() const { return communicator.rank() == 0; }

  // Runs `action` here and throws on every rank if it failed on any.
  void together(std::string_view doing, const std::function<void()>& action) const {
    std::string fault;
    try {
      action();
    } catch (const std::exception& error) {
      fault = *error.what() ? error.what() : "unknown error";
    }
    try {
      control().agree_or_throw(fault);
    } catch (const DataError& agreed) {
      throw CheckpointError(fmt::format("cannot {} in {}: {}", doing, folder.string(), agreed.message()));
    }
  }

  // What must not stop a training whose snapshot is safe already.
  void try_to(std::string_view doing, const std::function<void()>& action) const {
    try {
      action();
    } catch (const std::exception& error) {
      options.logger.warning(fmt::format("cannot {} in {}: {}", doing, folder.string(), error.what()));
    }
  }

  SnapshotInfo save(const SaveRequest& request) const;
  std::vector<FileEntry> write_parts(const fs::path& partial, const SaveRequest& request) const;
  void finish(const fs::path& partial, Manifest& manifest) const;
  void update_pointers_and_prune() const;
  std::optional<Snapshot> load(bool best) const;
  std::string choose(bool best) const;
};

SnapshotInfo Store::Impl::save(const SaveRequest& request) const {
  const auto phase =
      control().in_phase(fmt::format("writing snapshot {}", request.step), mpi::Waits::for_disk);
  Manifest manifest{.info = {.folder = snapshot_folder(folder, request.step),
                             .step = request.step,
                             .sequence = 0,
                             .world = communicator.size(),
                             .metric = request.metric,
                             .metadata = request.metadata,
                             .hash = {}},
                    .metric_name = options.metric,
                    .higher_is_better = options.higher_is_better,
                    .files = {}};
  const fs::path partial = fs::path(manifest.info.folder) += ".partial";
  const std::string doing = fmt::format("save a checkpoint of step {}", request.step);
  try {
    together(doing, [&] {
      expects(request.step >= 0, "a checkpoint's step must not be negative");
      if (!is_writer()) return;
      clean_leftovers(folder);
      create_partial_folder(folder, request.step);
      const Inventory inventory = take_inventory(folder);
      manifest.info.sequence =
          inventory.snapshots.empty() ? 1 : inventory.snapshots.front().info.sequence + 1;
    });
    std::vector<FileEntry> mine;
    together(doing, [&] { mine = write_parts(partial, request); });
    for (const std::string& line : control().all_gather(to_json_line(mine))) {
      for (FileEntry& entry : parse_json_line(line)) manifest.files.push_back(std::move(entry));
    }
    together(doing, [&] {
      if (is_writer()) finish(partial, manifest);
    });
  } catch (...) {
    std::error_code ignored;
    if (is_writer()) fs::remove_all(partial, ignored);
    throw;
  }
  if (is_writer()) update_pointers_and_prune();
  manifest.info.hash = control().broadcast(manifest.info.hash);
  manifest.info.sequence = std::stoll(control().broadcast(std::to_string(manifest.info.sequence)));
  return manifest.info;
}

std::vector<FileEntry> Store::Impl::write_parts(const fs::path& partial, const SaveRequest& request) const {
  std::vector<FileEntry> files = write_components(partial, request.rank_components, communicator.rank());
  if (!is_writer()) return files;
  for (FileEntry& entry : write_components(partial, request.components, std::nullopt))
    files.push_back(std::move(entry));
  return files;
}

void Store::Impl::finish(const fs::path& partial, Manifest& manifest) const {
  manifest.info.hash = write_manifest(partial, manifest);
  publish(folder, manifest.info.step);
}

void Store::Impl::update_pointers_and_prune() const {
  const Inventory inventory = take_inventory(folder);
  if (inventory.snapshots.empty()) return;
  const auto point = [&](const char* pointer, const Manifest& target) {
    try_to(fmt::format("update '{}'", pointer),
           [&] { write_file_atomically(folder / pointer, target.info.folder.filename().string() + '\n'); });
  };
  point("latest", inventory.snapshots.front());
  const Manifest* best = options.keep_best ? find_best(inventory.snapshots) : nullptr;
  if (best) point("best", *best);
  for (std::size_t i = static_cast<std::size_t>(options.keep_last); i < inventory.snapshots.size(); ++i) {
    const Manifest& old = inventory.snapshots[i];
    if (&old != best) try_to("remove an old checkpoint", [&] { remove_snapshot(old.info.folder); });
  }
}

// Name of the snapshot to load; empty if the store is. Rank 0 alone looks, so that all ranks take the same
// one.
std::string Store::Impl::choose(bool best) const {
  Inventory inventory = take_inventory(folder);
  for (const auto& [snapshot, fault] : inventory.damaged) {
    options.logger.warning(fmt::format("checkpoint {} is left out: {}", snapshot.string(), fault));
  }
  while (!inventory.snapshots.empty()) {
    const Manifest* candidate = best ? find_best(inventory.snapshots) : nullptr;
    if (!candidate) candidate = &inventory.snapshots.front();
    try {
      verify_files(*candidate);
      return candidate->info.folder.filename().string();
    } catch (const CheckpointError& error) {
      options.logger.warning(
          fmt::format("checkpoint {} is left out: {}", candidate->info.folder.string(), error.message()));
      inventory.damaged.push_back({candidate->info.folder, error.message()});
      inventory.snapshots.erase(inventory.snapshots.begin() + (candidate - inventory.snapshots.data()));
    }
  }
  if (!inventory.damaged.empty()) {
    throw CheckpointError(
        fmt::format("none of the {} checkpoints is intact; move them away to start afresh:{}",
                    inventory.damaged.size(), join_faults(inventory.damaged)));
  }
  return {};
}

std::optional<Snapshot> Store::Impl::load(bool best) const {
  const auto phase = control().in_phase("reading a snapshot", mpi::Waits::for_disk);
  std::string name;
  together("load a checkpoint", [&] {
    if (is_writer()) name = choose(best);
  });
  name = control().broadcast(name);
  if (name.empty()) return std::nullopt;
  Snapshot snapshot;
  together("load checkpoint " + name, [&] {
    snapshot = read_files(read_manifest(folder / name), communicator.rank(), communicator.size());
  });
  return snapshot;
}

Store::Store(fs::path folder, comm::Communicator communicator, StoreOptions options)
    : impl_(std::make_unique<Impl>(Impl{std::move(folder), std::move(communicator), std::move(options)})) {
  impl_->options.validate();
}
Store::~Store() = default;
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;

SnapshotInfo Store::save(const SaveRequest& request) { return impl_->save(request); }
std::optional<Snapshot> Store::load_latest() const { return impl_->load(false); }
std::optional<Snapshot> Store::load_best() const { return impl_->load(true); }
const fs::path& Store::folder() const noexcept { return impl_->folder; }

}  // namespace bunchtrain::checkpoint
