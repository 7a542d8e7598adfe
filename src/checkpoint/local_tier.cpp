// SPDX-License-Identifier: Apache-2.0
#include "local_tier.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <span>
#include <sstream>
#include <system_error>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/process.hpp"
#include "bunchtrain/core/wording.hpp"
#include "snapshot_files.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNameFile = "local-tier";
constexpr std::size_t kPiece = std::size_t{4} << 20;

/// Another one than any run has had, also one in the same place: what that left on a node is not this run's.
std::string make_name() {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return "bunchtrain-" +
         hash_hex(fmt::format("{} {} {}", this_process().host, ::getpid(), now)).substr(0, 16);
}

/// What the run's folders on the nodes are called; empty if there is none yet.
std::string name_of_run(const fs::path& store, bool create) {
  const fs::path file = store / kNameFile;
  if (fs::exists(file)) {
    std::string name = read_text_file(file);
    name.erase(name.find_last_not_of(" \n\r\t") + 1);
    if (name.empty() || name.find('/') != std::string::npos || name.starts_with("."))
      throw CheckpointError(fmt::format("{} does not name a folder: remove it", file.string()));
    return name;
  }
  if (!create) return {};
  fs::create_directories(store);
  const std::string name = make_name();
  write_file_atomically(file, name + '\n');
  return name;
}

/// The newest two, one of which may be under way to the run folder.
StoreOptions of_node(StoreOptions options) {
  options.keep_last = 2;
  options.keep_best = 0;
  options.keep_every = {};
  return options;
}

void copy_file(const fs::path& from, const fs::path& to, const FileEntry& entry) {
  std::ifstream in(from, std::ios::binary);
  if (!in) throw CheckpointError(fmt::format("{} is missing", from.string()));
  AtomicFile out(to);
  std::vector<char> piece(std::min<std::size_t>(kPiece, std::max<std::size_t>(entry.bytes, 1)));
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())), in.gcount() > 0)
    out.write(std::as_bytes(std::span(piece.data(), static_cast<std::size_t>(in.gcount()))));
  if (in.bad()) throw CheckpointError(fmt::format("{} cannot be read", from.string()));
  if (out.bytes() != entry.bytes || out.hash() != entry.hash)
    throw CheckpointError(fmt::format("{} is damaged: it is not what was written there", from.string()));
  out.commit();
}

std::string names_of(const std::vector<FileEntry>& files) {
  std::vector<std::string> names;
  for (const FileEntry& file : files) names.push_back(file_name(file));
  return fmt::format("{}", fmt::join(names, "\n"));
}

bool lists(const std::string& names, const std::string& name) {
  std::istringstream lines(names);
  for (std::string line; std::getline(lines, line);)
    if (line == name) return true;
  return false;
}

/// The files of a snapshot that are here and sound.
std::vector<FileEntry> sound_files(const Manifest& manifest) {
  std::vector<FileEntry> sound;
  for (const FileEntry& file : manifest.files) {
    const fs::path path = manifest.info.folder / file_name(file);
    std::error_code error;
    if (fs::file_size(path, error) != file.bytes || error) continue;
    if (hash_file(path) == file.hash) sound.push_back(file);
  }
  return sound;
}

const Manifest* find_sequence(const std::vector<Manifest>& manifests, std::int64_t sequence) {
  for (const Manifest& manifest : manifests)
    if (manifest.info.sequence == sequence) return &manifest;
  return nullptr;
}

/// The sequence number of the newest snapshot that is sound, as far as the nodes have another choice.
std::int64_t newest_sound(const Inventory& shared, const std::vector<Manifest>& on_node) {
  for (const Manifest& manifest : shared.snapshots) {
    const bool choice = std::ranges::any_of(
        on_node, [&](const Manifest& other) { return other.info.sequence >= manifest.info.sequence; });
    if (!choice) return manifest.info.sequence;
    try {
      verify_files(manifest);
      return manifest.info.sequence;
    } catch (const Error&) {  // whoever chooses among those of the run folder tells
    }
  }
  return 0;
}

}  // namespace

/// A snapshot on its way.
struct LocalTier::Upload {
  Manifest manifest;
  std::vector<FileEntry> mine;
  std::future<void> copied = {};
};

/// What all nodes have of a snapshot.
struct LocalTier::Found {
  Manifest manifest;
  std::vector<FileEntry> mine;  ///< that this rank is to upload
  bool whole = false;           ///< together
  bool everywhere = false;      ///< each of them
};

LocalTier::LocalTier(comm::Communicator communicator, const StoreOptions& options, Tier& shared)
    : communicator_(std::move(communicator)), options_(options), shared_(shared) {}
LocalTier::~LocalTier() = default;

void LocalTier::require_writable() const {
  control().together([&] {
    std::error_code error;
    fs::create_directories(options_.local, error);
    if (!error && ::access(options_.local.c_str(), W_OK | X_OK) != 0)
      error = std::error_code(errno, std::generic_category());
    if (error)
      throw ConfigError(fmt::format(
          "the local folder of checkpoints {} cannot be written on {}: {}; name another with {}",
          options_.local.string(), this_process().host, error.message(), setting("checkpoint_local")));
  });
}

/// Names the run's folders, and finds out who leads a node.
void LocalTier::open(bool create) {
  if (own_) return;
  std::string name;
  control().together([&] {
    if (is_root()) name = name_of_run(shared_.folder(), create);
  });
  name = control().broadcast(name);
  if (name.empty()) return;
  const fs::path folder = options_.local / name;
  const std::string place = fmt::format("{}:{}", this_process().machine, folder.string());
  const auto places = control().all_gather(place);
  leads_ = std::ranges::find(places, place) - places.begin() == communicator_.rank();
  own_ = std::make_unique<Tier>(folder, of_node(options_));
}

std::int64_t LocalTier::begin_save(std::int64_t step) {
  open(/*create=*/true);
  std::int64_t sequence = 0;
  control().together([&] {
    if (leads_) sequence = own_->begin_save(step);
  });
  return control().all_max(sequence);
}

fs::path LocalTier::partial(std::int64_t step) const { return partial_folder(own_->folder(), step); }

void LocalTier::publish(Manifest& manifest, std::vector<FileEntry> mine) {
  control().together([&] {
    if (leads_) own_->publish(manifest);
  });
  manifest.info.folder = snapshot_folder(own_->folder(), manifest.info.step);
  next_ = Waiting{manifest, std::move(mine)};
  if (!upload_) start();
  prune();
}

void LocalTier::abandon(std::int64_t step) {
  std::error_code left;  // the next save removes it
  if (leads_) fs::remove_all(partial(step), left);
}

bool LocalTier::uploaded() const {
  return upload_ && upload_->copied.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

/// Whether `action` succeeded on all ranks; a fault is a warning.
bool LocalTier::attempt(const Manifest& manifest, const std::function<void()>& action) {
  try {
    control().together(action);
    return true;
  } catch (const CommError&) {
    throw;
  } catch (const Error& error) {
    if (is_root())
      options_.logger.warning(fmt::format(
          "the snapshot of step {} cannot be brought into {}: {}; it stays in {}, and the next upload tries again",
          manifest.info.step, shared_.folder().string(), error.message(), own_->folder().string()));
    return false;
  }
}

void LocalTier::start() {
  auto upload = std::make_unique<Upload>(Upload{next_->manifest, next_->mine});
  const bool ready = attempt(upload->manifest, [&] {
    if (is_root()) shared_.make_place(upload->manifest.info.step);
  });
  if (!ready) return;
  next_.reset();
  const auto copy = [upload = upload.get(),
                     from = snapshot_folder(own_->folder(), upload->manifest.info.step),
                     to = partial_folder(shared_.folder(), upload->manifest.info.step)] {
    for (const FileEntry& entry : upload->mine)
      copy_file(from / file_name(entry), to / file_name(entry), entry);
  };
  try {
    upload->copied = std::async(std::launch::async, copy);
  } catch (const std::system_error&) {  // no thread to be had: whoever waits copies
    upload->copied = std::async(std::launch::deferred, copy);
  }
  upload_ = std::move(upload);
}

void LocalTier::finish_upload() {
  expects(uploading(), "an upload is finished after it was begun");
  const auto phase = control().in_phase(fmt::format("uploading snapshot {}", upload_->manifest.info.step),
                                        mpi::Waits::for_disk);
  const std::unique_ptr<Upload> upload = std::move(upload_);
  const bool there =
      attempt(upload->manifest, [&] { upload->copied.get(); }) && attempt(upload->manifest, [&] {
        if (!is_root()) return;
        check_complete(upload->manifest.files);
        shared_.publish(upload->manifest);
      });
  if (there) {
    if (is_root()) shared_.tidy();
  } else {
    std::error_code left;  // the next upload removes it
    if (is_root()) fs::remove_all(partial_folder(shared_.folder(), upload->manifest.info.step), left);
    if (!next_) {
      next_ = Waiting{std::move(upload->manifest), std::move(upload->mine)};
      return;  // not at once
    }
  }
  if (next_) start();
  prune();
}

void LocalTier::upload_all() {
  while (upload_) finish_upload();
  if (next_) start();
  if (upload_) finish_upload();
}

bool LocalTier::judge(std::int64_t step, const Judgement& judgement) {
  if (!own_) return false;
  bool here = false;
  control().together([&] {
    const fs::path folder = snapshot_folder(own_->folder(), step);
    here = leads_ && fs::exists(folder);
    if (here) own_->judge(step, judgement);
  });
  for (Manifest* manifest : {upload_ ? &upload_->manifest : nullptr, next_ ? &next_->manifest : nullptr})
    if (manifest && manifest->info.step == step) add_judgement(*manifest, judgement);
  if (next_ && !next_->manifest.info.lost.empty()) next_.reset();
  prune();
  return control().all_max(here ? 1 : 0) > 0;
}

const Inventory& LocalTier::inventory() {
  static const Inventory kNone;
  return own_ ? own_->inventory() : kNone;
}

/// What is on its way stays.
void LocalTier::prune() {
  if (leads_) own_->prune(upload_ ? upload_->manifest.info.step : -1);
}

void LocalTier::remove() {
  if (!own_ || uploading() || next_) return;
  std::error_code left;
  if (leads_) fs::remove_all(own_->folder(), left);
}

LocalTier::Found LocalTier::find(std::int64_t sequence, const std::vector<Manifest>& candidates) {
  const Manifest* mine = find_sequence(candidates, sequence);
  std::vector<FileEntry> sound;
  control().together([&] {
    if (mine) sound = sound_files(*mine);
  });
  const auto texts = control().all_gather(mine ? content_text(*mine) : std::string());
  const auto lists_of_names = control().all_gather(names_of(sound));
  const auto text = std::ranges::find_if_not(texts, &std::string::empty);
  Found found{.manifest = parse_manifest_content(*text), .mine = {}, .whole = true, .everywhere = true};
  const auto own_rank = static_cast<std::size_t>(communicator_.rank());
  for (const FileEntry& file : found.manifest.files) {
    const auto has = [&](const std::string& names) { return lists(names, file_name(file)); };
    const auto first = std::ranges::find_if(lists_of_names, has) - lists_of_names.begin();
    found.whole = found.whole && first < communicator_.size();
    if (static_cast<std::size_t>(first) == own_rank) found.mine.push_back(file);
    if (leads_ && !has(lists_of_names[own_rank])) found.everywhere = false;
  }
  found.everywhere = control().all_min(found.everywhere ? 1 : 0) > 0;
  return found;
}

std::optional<Manifest> LocalTier::recover() {
  open(/*create=*/false);
  if (!own_) return std::nullopt;
  std::vector<Manifest> candidates;
  control().together([&] {
    if (leads_) candidates = take_inventory(own_->folder()).snapshots;
  });
  std::int64_t newest = 0;
  control().together([&] {
    if (is_root()) newest = newest_sound(shared_.inventory(), candidates);
  });
  newest = control().all_max(newest);
  for (std::int64_t below = std::numeric_limits<std::int64_t>::max();;) {
    std::int64_t sequence = 0;
    for (const Manifest& manifest : candidates)
      if (manifest.info.sequence < below) sequence = std::max(sequence, manifest.info.sequence);
    sequence = below = control().all_max(sequence);
    if (sequence <= newest) return std::nullopt;
    Found found = find(sequence, candidates);
    if (!found.whole) {
      if (is_root())
        options_.logger.warning(fmt::format(
            "the snapshot of step {} was not in the run folder yet, and the nodes do not have all of it any more",
            found.manifest.info.step));
      continue;
    }
    next_ = Waiting{found.manifest, std::move(found.mine)};
    upload_all();
    if (!next_) return std::nullopt;
    if (!found.everywhere) return std::nullopt;
    found.manifest.info.folder = snapshot_folder(own_->folder(), found.manifest.info.step);
    return std::move(found.manifest);
  }
}

}  // namespace bunchtrain::checkpoint
