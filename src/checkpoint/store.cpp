// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/store.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "local_tier.hpp"
#include "retention.hpp"
#include "snapshot_choice.hpp"
#include "snapshot_files.hpp"
#include "snapshot_folders.hpp"
#include "tier.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

/// A local folder within the run folder would be on the same disk, and part of the run.
void require_apart(const fs::path& local, const fs::path& store) {
  const fs::path run = fs::weakly_canonical(fs::absolute(store)).parent_path();
  const fs::path inside = fs::weakly_canonical(fs::absolute(local)).lexically_relative(run);
  if (inside.empty() || *inside.begin() == "..") return;
  throw ConfigError("checkpoint_local", local.string(),
                    fmt::format("a folder on the node's own disk, not in the run folder {}", run.string()));
}

}  // namespace

void StoreOptions::validate() const {
  if (keep_last < 1) throw ConfigError("keep_last", std::to_string(keep_last), "1 or more");
  if (keep_best < 0) throw ConfigError("keep_best", std::to_string(keep_best), "0 (none) or more");
  if (keep_every.count() < 0)
    throw ConfigError("keep_every", fmt::format("{} s", keep_every.count()), "0 (none) or a duration");
  if (keep_best > 0 && metric.empty())
    throw ConfigError("metric", "", "the name of a metric, since keep_best is on");
}

/// A save that was begun.
struct Pending {
  Manifest manifest;
  SaveRequest request;    ///< while its files are written
  fs::path partial = {};  ///< where
  std::future<std::vector<FileEntry>> files = {};

  std::string doing() const { return fmt::format("save a checkpoint of step {}", manifest.info.step); }
};

struct Store::Impl {
  fs::path folder;
  comm::Communicator communicator;
  StoreOptions options;
  Tier tier{folder, options};             ///< rank 0 alone works there
  std::unique_ptr<LocalTier> local = {};  ///< if one was asked for
  std::unique_ptr<Pending> pending = {};

  const mpi::Comm& control() const { return communicator.control(); }
  bool is_writer() const { return communicator.rank() == 0; }

  // Runs `action` here and throws on every rank if it failed on any.
  void together(std::string_view doing, const std::function<void()>& action) const {
    explain(doing, [&] { control().together(action); });
  }

  // Says in errors of `action` what could not be done.
  void explain(std::string_view doing, const std::function<void()>& action) const {
    const auto message = [&](const Error& error) {
      return fmt::format("cannot {} in {}: {}", doing, folder.string(), error.message());
    };
    try {
      action();
    } catch (const CommError&) {
      throw;
    } catch (const IoError& error) {
      throw IoError(message(error), error.code());
    } catch (const ConfigError& error) {
      throw ConfigError(message(error));
    } catch (const Error& error) {
      throw CheckpointError(message(error));
    }
  }

  Manifest manifest_of(const SaveRequest& request) const;
  Inventory inventory();
  void publish(Pending& save, std::vector<FileEntry> mine);
  void begin(SaveRequest request, std::launch how);
  SnapshotInfo commit();
  void abandon();
  void judge(std::int64_t step, const Judgement& judgement);
  Snapshot read(const std::string& name, const ComponentNames& wanted, const WantedSlices& slices) const;
  std::vector<std::int64_t> steps();
  std::optional<std::int64_t> best();
  std::optional<Snapshot> load_latest(const WantedSlices& slices);
  std::optional<Snapshot> load(std::string_view which, const ComponentNames& wanted,
                               const WantedSlices& slices) const;
};

Manifest Store::Impl::manifest_of(const SaveRequest& request) const {
  return {.info = {.folder = snapshot_folder(folder, request.step),
                   .step = request.step,
                   .sequence = 0,
                   .world = communicator.size(),
                   .saved_at = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()),
                   .metric = request.metric,
                   .judged = request.judged,
                   .lost = {},
                   .metadata = request.metadata,
                   .hash = {}},
          .metric_name = options.metric,
          .higher_is_better = options.higher_is_better,
          .files = {}};
}

void Store::Impl::begin(SaveRequest request, std::launch how) {
  expects(!pending, "a checkpoint is saved when the one before is committed or abandoned");
  const auto phase =
      control().in_phase(fmt::format("writing snapshot {}", request.step), mpi::Waits::for_disk);
  auto next =
      std::make_unique<Pending>(Pending{.manifest = manifest_of(request), .request = std::move(request)});
  together(next->doing(), [&] {
    expects(next->request.step >= 0, "a checkpoint's step must not be negative");
    if (!is_writer()) return;
    next->manifest.info.sequence = local ? tier.look() : tier.begin_save(next->request.step);
  });
  next->partial = partial_folder(folder, next->manifest.info.step);
  if (local)
    explain(next->doing(), [&] {
      const std::int64_t on_nodes = local->begin_save(next->manifest.info.step);
      next->manifest.info.sequence = std::max(next->manifest.info.sequence, on_nodes);
      next->partial = local->partial(next->manifest.info.step);
    });
  const auto write = [rank = communicator.rank(), world = communicator.size(), save = next.get()] {
    auto files = write_own(save->partial, save->request.rank_components, rank);
    for (FileEntry& entry : write_shared(save->partial, save->request.components, rank, world))
      files.push_back(std::move(entry));
    return files;
  };
  try {
    next->files = std::async(how, write);
  } catch (const std::system_error&) {  // no thread to be had: `commit` writes
    next->files = std::async(std::launch::deferred, write);
  }
  pending = std::move(next);
}

SnapshotInfo Store::Impl::commit() {
  expects(pending != nullptr, "a checkpoint is committed after it was begun");
  const std::unique_ptr<Pending> save = std::move(pending);
  Manifest& manifest = save->manifest;
  const auto phase =
      control().in_phase(fmt::format("writing snapshot {}", manifest.info.step), mpi::Waits::for_disk);
  try {
    std::vector<FileEntry> mine;
    together(save->doing(), [&] { mine = save->files.get(); });
    for (const std::string& line : control().all_gather(to_json_line(mine))) {
      for (FileEntry& entry : parse_json_line(line)) manifest.files.push_back(std::move(entry));
    }
    publish(*save, std::move(mine));
  } catch (...) {
    std::error_code ignored;
    if (is_writer() || local) fs::remove_all(save->partial, ignored);
    throw;
  }
  return manifest.info;
}

// All nodes get the manifest of rank 0.
void Store::Impl::publish(Pending& save, std::vector<FileEntry> mine) {
  Manifest& manifest = save.manifest;
  const fs::path place = manifest.info.folder;
  together(save.doing(), [&] { check_complete(manifest.files); });
  manifest = parse_manifest_content(control().broadcast(content_text(manifest)));
  manifest.info.folder = place;
  if (local) {
    explain(save.doing(), [&] { local->publish(manifest, std::move(mine)); });
  } else {
    together(save.doing(), [&] {
      if (is_writer()) tier.publish(manifest);
    });
    if (is_writer()) tier.tidy();
  }
  manifest.info.hash = control().broadcast(manifest.info.hash);
}

void Store::Impl::abandon() {
  expects(pending != nullptr, "a checkpoint is abandoned after it was begun");
  const std::unique_ptr<Pending> save = std::move(pending);
  save->files.wait();
  control().barrier();   // no rank writes any more
  std::error_code left;  // the next save removes it
  if (local)
    local->abandon(save->manifest.info.step);
  else if (is_writer())
    fs::remove_all(save->partial, left);
}

void Store::Impl::judge(std::int64_t step, const Judgement& judgement) {
  const auto phase = control().in_phase(fmt::format("judging snapshot {}", step), mpi::Waits::for_disk);
  const std::string doing = fmt::format("judge the checkpoint of step {}", step);
  bool on_nodes = false;
  if (local) explain(doing, [&] { on_nodes = local->judge(step, judgement); });
  together(doing, [&] {
    if (is_writer() && (!on_nodes || fs::exists(snapshot_folder(folder, step)))) tier.judge(step, judgement);
  });
  if (is_writer()) tier.tidy();
}

Snapshot Store::Impl::read(const std::string& name, const ComponentNames& wanted,
                           const WantedSlices& slices) const {
  Snapshot snapshot;
  together("load checkpoint " + name, [&] {
    snapshot =
        read_files(read_manifest(folder / name), communicator.rank(), communicator.size(), wanted, slices);
  });
  return snapshot;
}

// Of rank 0, with those that are on the nodes alone.
Inventory Store::Impl::inventory() {
  Inventory all = tier.inventory();
  if (!local) return all;
  for (const auto* manifests : {&local->inventory().snapshots, &local->inventory().lost})
    for (Manifest manifest : *manifests) {
      manifest.info.folder = snapshot_folder(folder, manifest.info.step);
      put(all, std::move(manifest));
    }
  return all;
}

std::vector<std::int64_t> Store::Impl::steps() {
  std::string text;
  together("look for checkpoints", [&] {
    if (!is_writer()) return;
    for (const Manifest& manifest : inventory().snapshots) text += fmt::format("{} ", manifest.info.step);
  });
  std::istringstream words(control().broadcast(text));
  return {std::istream_iterator<std::int64_t>(words), {}};
}

std::optional<std::int64_t> Store::Impl::best() {
  std::string text;
  together("look for checkpoints", [&] {
    if (!is_writer()) return;
    const Inventory all = inventory();
    if (const auto bests = find_bests(all.snapshots); !bests.empty())
      text = std::to_string(bests.front()->info.step);
  });
  text = control().broadcast(text);
  return text.empty() ? std::nullopt : std::optional(std::stoll(text));
}

// Rank 0 alone chooses, so that all ranks take the same one.
std::optional<Snapshot> Store::Impl::load_latest(const WantedSlices& slices) {
  const auto phase = control().in_phase("reading a snapshot", mpi::Waits::for_disk);
  if (local) {
    if (const auto on_nodes = local->recover()) {
      Snapshot snapshot;
      together("load a checkpoint", [&] {
        snapshot = read_files(*on_nodes, communicator.rank(), communicator.size(), {}, slices);
      });
      return snapshot;
    }
  }
  std::string name;
  together("load a checkpoint", [&] {
    if (is_writer()) name = choose_newest(folder, options.logger);
  });
  name = control().broadcast(name);
  if (name.empty()) return std::nullopt;
  return read(name, {}, slices);
}

std::optional<Snapshot> Store::Impl::load(std::string_view which, const ComponentNames& wanted,
                                          const WantedSlices& slices) const {
  const auto phase = control().in_phase("reading a snapshot", mpi::Waits::for_disk);
  std::string name;
  together("load a checkpoint", [&] {
    if (is_writer()) name = choose_exactly(folder, which, wanted);
  });
  name = control().broadcast(name);
  if (name.empty()) return std::nullopt;
  return read(name, wanted, slices);
}

Store::Store(fs::path folder, comm::Communicator communicator, StoreOptions options)
    : impl_(std::make_unique<Impl>(Impl{std::move(folder), std::move(communicator), std::move(options)})) {
  impl_->options.validate();
  if (impl_->options.local.empty()) return;
  require_apart(impl_->options.local, impl_->folder);
  impl_->local = std::make_unique<LocalTier>(impl_->communicator, impl_->options, impl_->tier);
}
Store::~Store() = default;
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;

SnapshotInfo Store::save(SaveRequest request) {
  impl_->begin(std::move(request), std::launch::deferred);  // written where it is waited for
  return impl_->commit();
}
void Store::begin(SaveRequest request) { impl_->begin(std::move(request), std::launch::async); }
bool Store::saving() const noexcept { return impl_->pending != nullptr; }
bool Store::written() const {
  return impl_->pending &&
         impl_->pending->files.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}
SnapshotInfo Store::commit() { return impl_->commit(); }
void Store::abandon() { impl_->abandon(); }
std::vector<std::int64_t> Store::steps() const { return impl_->steps(); }
std::optional<std::int64_t> Store::best() const { return impl_->best(); }
void Store::judge(std::int64_t step, const Judgement& judgement) { impl_->judge(step, judgement); }
void Store::tidy_up() const {
  if (impl_->is_writer()) impl_->tier.tidy_up();
  if (impl_->local) impl_->local->remove();
}
void Store::require_local() const {
  if (impl_->local) impl_->local->require_writable();
}
bool Store::uploading() const noexcept { return impl_->local && impl_->local->uploading(); }
bool Store::uploaded() const { return impl_->local && impl_->local->uploaded(); }
void Store::finish_upload() {
  expects(uploading(), "an upload is finished after it was begun");
  impl_->local->finish_upload();
}
void Store::upload_all() {
  if (impl_->local) impl_->local->upload_all();
}
std::optional<Snapshot> Store::load_latest(const WantedSlices& slices) const {
  return impl_->load_latest(slices);
}
std::optional<Snapshot> Store::load(std::string_view which, const std::vector<std::string>& components,
                                    const WantedSlices& slices) const {
  return impl_->load(which, components, slices);
}
const fs::path& Store::folder() const noexcept { return impl_->folder; }

}  // namespace bunchtrain::checkpoint
