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

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "snapshot_choice.hpp"
#include "snapshot_files.hpp"
#include "snapshot_folders.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

std::int64_t next_sequence(const Inventory& inventory) {
  std::int64_t greatest = 0;
  for (const auto* manifests : {&inventory.snapshots, &inventory.lost})
    for (const Manifest& manifest : *manifests) greatest = std::max(greatest, manifest.info.sequence);
  return greatest + 1;
}

}  // namespace

void StoreOptions::validate() const {
  if (keep_last < 1) throw ConfigError("keep_last", std::to_string(keep_last), "1 or more");
  if (keep_best && metric.empty())
    throw ConfigError("metric", "", "the name of a metric, since keep_best is on");
}

/// A save that was begun.
struct Pending {
  Manifest manifest;
  SaveRequest request;  ///< while its files are written
  std::future<std::vector<FileEntry>> files = {};

  fs::path partial() const { return fs::path(manifest.info.folder) += ".partial"; }
  std::string doing() const { return fmt::format("save a checkpoint of step {}", manifest.info.step); }
};

struct Store::Impl {
  fs::path folder;
  comm::Communicator communicator;
  StoreOptions options;
  std::unique_ptr<Pending> pending = {};

  const mpi::Comm& control() const { return communicator.control(); }
  bool is_writer() const { return communicator.rank() == 0; }

  // Runs `action` here and throws on every rank if it failed on any.
  void together(std::string_view doing, const std::function<void()>& action) const {
    const auto message = [&](const Error& error) {
      return fmt::format("cannot {} in {}: {}", doing, folder.string(), error.message());
    };
    try {
      control().together(action);
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

  // What must not stop a training whose snapshot is safe already.
  void try_to(std::string_view doing, const std::function<void()>& action) const {
    try {
      action();
    } catch (const std::exception& error) {
      options.logger.warning(fmt::format("cannot {} in {}: {}", doing, folder.string(), error.what()));
    }
  }

  Manifest manifest_of(const SaveRequest& request) const;
  void begin(SaveRequest request, std::launch how);
  SnapshotInfo commit();
  void abandon();
  void finish(const fs::path& partial, Manifest& manifest) const;
  void judge(std::int64_t step, const Judgement& judgement) const;
  void tidy() const;
  void tidy_up() const;
  void update_pointers_and_prune() const;
  std::size_t kept(const Inventory& inventory) const;
  Snapshot read(const std::string& name, const ComponentNames& wanted, const WantedSlices& slices) const;
  std::vector<std::int64_t> steps() const;
  std::optional<std::int64_t> best() const;
  std::optional<Snapshot> load_latest(const WantedSlices& slices) const;
  std::optional<Snapshot> load(std::string_view which, const ComponentNames& wanted,
                               const WantedSlices& slices) const;
};

Manifest Store::Impl::manifest_of(const SaveRequest& request) const {
  return {.info = {.folder = snapshot_folder(folder, request.step),
                   .step = request.step,
                   .sequence = 0,
                   .world = communicator.size(),
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
    clean_leftovers(folder);
    next->manifest.info.sequence = next_sequence(take_inventory(folder));
    create_partial_folder(folder, next->request.step);  // last: what fails before it leaves nothing
  });
  const auto write = [rank = communicator.rank(), world = communicator.size(), save = next.get()] {
    auto files = write_own(save->partial(), save->request.rank_components, rank);
    for (FileEntry& entry : write_shared(save->partial(), save->request.components, rank, world))
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
    together(save->doing(), [&] {
      if (is_writer()) finish(save->partial(), manifest);
    });
  } catch (...) {
    std::error_code ignored;
    if (is_writer()) fs::remove_all(save->partial(), ignored);
    throw;
  }
  tidy();
  manifest.info.hash = control().broadcast(manifest.info.hash);
  manifest.info.sequence = std::stoll(control().broadcast(std::to_string(manifest.info.sequence)));
  return manifest.info;
}

void Store::Impl::abandon() {
  expects(pending != nullptr, "a checkpoint is abandoned after it was begun");
  const std::unique_ptr<Pending> save = std::move(pending);
  save->files.wait();
  control().barrier();  // no rank writes any more
  if (is_writer()) try_to("remove an abandoned checkpoint", [&] { fs::remove_all(save->partial()); });
}

void Store::Impl::finish(const fs::path& partial, Manifest& manifest) const {
  check_complete(manifest.files);
  manifest.info.hash = write_manifest(partial, manifest);
  publish(folder, manifest.info.step);
}

void Store::Impl::judge(std::int64_t step, const Judgement& judgement) const {
  const auto phase = control().in_phase(fmt::format("judging snapshot {}", step), mpi::Waits::for_disk);
  together(fmt::format("judge the checkpoint of step {}", step), [&] {
    if (!is_writer()) return;
    const fs::path place = snapshot_folder(folder, step);
    remove_torn_files(place, kManifestName);
    Manifest manifest = read_manifest(place);
    manifest.info.judged = true;
    manifest.info.lost = judgement.lost;
    if (judgement.metric) manifest.info.metric = judgement.metric;
    if (!judgement.metric_name.empty()) manifest.metric_name = judgement.metric_name;
    for (const auto& [name, text] : judgement.metadata) manifest.info.metadata[name] = text;
    write_manifest(place, manifest);
  });
  tidy();
}

void Store::Impl::tidy() const {
  if (is_writer()) try_to("tidy up", [&] { update_pointers_and_prune(); });
}

void Store::Impl::tidy_up() const {
  if (!is_writer()) return;
  try_to("tidy up", [&] { clean_leftovers(folder); });
  tidy();
}

// A snapshot that nothing has judged yet must not push out the last one that is known to be good.
std::size_t Store::Impl::kept(const Inventory& inventory) const {
  const int least = inventory.snapshots.front().info.judged ? 1 : 2;
  return static_cast<std::size_t>(std::max(options.keep_last, least));
}

void Store::Impl::update_pointers_and_prune() const {
  const Inventory inventory = take_inventory(folder);
  if (inventory.snapshots.empty()) return;
  const auto point = [&](const char* pointer, const Manifest& target) {
    try_to(fmt::format("update '{}'", pointer),
           [&] { write_file_atomically(folder / pointer, target.info.folder.filename().string() + '\n'); });
  };
  const auto remove = [&](const Manifest& old) {
    try_to("remove an old checkpoint", [&] { remove_snapshot(old.info.folder); });
  };
  const Manifest& newest = inventory.snapshots.front();
  point("latest", newest);
  std::vector<const Manifest*> bests;
  if (options.keep_best) bests = find_bests(inventory.snapshots);
  if (!bests.empty()) point("best", *bests.front());
  for (std::size_t i = kept(inventory); i < inventory.snapshots.size(); ++i)
    if (std::ranges::find(bests, &inventory.snapshots[i]) == bests.end()) remove(inventory.snapshots[i]);
  for (const Manifest& lost : inventory.lost)
    if (lost.info.sequence < newest.info.sequence) remove(lost);
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

std::vector<std::int64_t> Store::Impl::steps() const {
  std::string text;
  together("look for checkpoints", [&] {
    if (!is_writer()) return;
    for (const Manifest& manifest : take_inventory(folder).snapshots)
      text += fmt::format("{} ", manifest.info.step);
  });
  std::istringstream words(control().broadcast(text));
  return {std::istream_iterator<std::int64_t>(words), {}};
}

std::optional<std::int64_t> Store::Impl::best() const {
  std::string text;
  together("look for checkpoints", [&] {
    if (!is_writer()) return;
    const Inventory inventory = take_inventory(folder);
    if (const auto bests = find_bests(inventory.snapshots); !bests.empty())
      text = std::to_string(bests.front()->info.step);
  });
  text = control().broadcast(text);
  return text.empty() ? std::nullopt : std::optional(std::stoll(text));
}

// Rank 0 alone chooses, so that all ranks take the same one.
std::optional<Snapshot> Store::Impl::load_latest(const WantedSlices& slices) const {
  const auto phase = control().in_phase("reading a snapshot", mpi::Waits::for_disk);
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
void Store::tidy_up() const { impl_->tidy_up(); }
std::optional<Snapshot> Store::load_latest(const WantedSlices& slices) const {
  return impl_->load_latest(slices);
}
std::optional<Snapshot> Store::load(std::string_view which, const std::vector<std::string>& components,
                                    const WantedSlices& slices) const {
  return impl_->load(which, components, slices);
}
const fs::path& Store::folder() const noexcept { return impl_->folder; }

}  // namespace bunchtrain::checkpoint
