// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/staging.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "copy_folder.hpp"
#include "io/file_bytes.hpp"
#include "lease.hpp"

namespace bunchtrain::data {
namespace {

using namespace std::chrono_literals;

constexpr auto kRound = 500ms;  // between two looks at the folder
constexpr auto kBeat = 5s;
constexpr std::uint64_t kPatience = 20;         // rounds until what did not go well is tried again
constexpr int kMostFailures = 3;                // of one file: then it is read where it is
constexpr std::size_t kRangesAtOnce = 1 << 12;  // looked through before new files are copied

/// What is on the node's own disk already, copies of remote files, needs no second one.
bool lies_in(const std::filesystem::path& folder, const std::string& path) {
  std::error_code error;
  const auto inside = std::filesystem::weakly_canonical(path, error)
                          .lexically_relative(std::filesystem::weakly_canonical(folder, error));
  return !error && !inside.empty() && *inside.begin() != "..";
}

std::string gigabytes(std::uint64_t bytes) {
  return fmt::format("{:.3g} GB", static_cast<double>(bytes) / 1e9);
}

}  // namespace

void StagingOptions::validate() const {
  if (folder.empty()) throw ConfigError("stage", "", "a folder on the node's own disk");
}

struct Staging::Impl {
  /// A file of the training, by its path: several sources may read it.
  struct File {
    SourceFile source;
    const io::Engine* engine = nullptr;
    std::shared_ptr<const FileBytes> copy = {};  ///< null: it is read itself
    int failures = 0;
    std::uint64_t next_try = 0;  ///< in that round
  };
  /// A dataset whose ranges are looked through for files.
  struct Expected {
    DatasetPtr dataset;
    std::vector<std::size_t> ranges;
    std::size_t next = 0;
  };

  const StagingOptions options;
  const CopyFolder folder;
  std::unique_ptr<Lease> lease;  // the thread's own, as what follows
  std::string token;             // of the lease under which copies are believed
  std::chrono::steady_clock::time_point beaten{};
  std::uint64_t rounds = 0;
  bool told_trouble = false;
  std::string told;

  mutable std::mutex mutex;
  std::condition_variable_any wake;
  bool woken = false;
  std::deque<Expected> expected;
  std::deque<File> files;  // in order of first use; the thread adds to it, none goes
  std::map<std::string, File*> by_path;
  std::map<const ByteSource*, File*> by_source;  // null: no file
  StagingStatistics counts;
  std::jthread thread;  // last: it ends before what it uses

  explicit Impl(StagingOptions given)
      : options(std::move(given)), folder(options.folder / "bunchtrain-staging") {
    thread = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }

  void run(const std::stop_token& stop) noexcept;
  void round(const std::stop_token& stop);
  void look_for_lease();
  void take_over();
  bool look_through();
  void add(const Piece& piece);
  void settle(File& file, const std::stop_token& stop);
  bool is_there(File& file, const std::stop_token& stop);
  bool bring(File& file, const std::stop_token& stop);
  bool has_room(const SourceFile& file);
  void adopt(File& file);
  void give_up(const std::vector<StoredCopy>& copies);
  void hold_limits();
  void tell();
  StagingStatistics counts_now() const;
  void warn(const std::string& what) const { options.logger.warning("staging: " + what); }
};

void Staging::Impl::run(const std::stop_token& stop) noexcept {
  while (!stop.stop_requested()) {
    try {
      round(stop);
    } catch (const std::exception& error) {
      if (!std::exchange(told_trouble, true))
        warn(fmt::format("{}; files without a copy are read where they are", error.what()));
    }
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, kRound, [this] { return woken; });
    woken = false;
  }
  lease.reset();
}

/// New files are copied as soon as they are found: those that are used first come first.
void Staging::Impl::round(const std::stop_token& stop) {
  ++rounds;
  look_for_lease();
  for (std::size_t i = 0; !stop.stop_requested(); ++i) {
    while (i == files.size()) {
      if (look_through()) continue;
      if (lease && !files.empty()) hold_limits();
      return tell();
    }
    settle(files[i], stop);
  }
}

void Staging::Impl::look_for_lease() {
  if (lease && !lease->beat()) lease.reset();
  if (!lease) {
    std::filesystem::create_directories(folder.path());
    lease = Lease::take(folder.path());
    if (lease) take_over();
  }
  const auto holder = lease ? std::nullopt : lease_holder(folder.path());
  token = lease ? lease->token() : holder ? holder->token : "";
  const std::lock_guard lock(mutex);
  counts.is_stager = lease != nullptr;
}

/// What killed processes left goes; what this one reads already needs no second look.
void Staging::Impl::take_over() {
  folder.clean();
  std::vector<SourceFile> read;
  {
    const std::lock_guard lock(mutex);
    for (const File& file : files)
      if (file.copy) read.push_back(file.source);
  }
  for (const SourceFile& source : read) folder.vouch(source, lease->token());
}

/// Some more ranges, up to a new file. @return false if all have been seen
bool Staging::Impl::look_through() {
  Expected* open = nullptr;
  {
    const std::lock_guard lock(mutex);
    for (Expected& one : expected)
      if (open == nullptr && one.next < one.ranges.size()) open = &one;
  }
  if (open == nullptr) return false;
  const std::size_t known = files.size();
  for (std::size_t i = 0; i < kRangesAtOnce && open->next < open->ranges.size() && files.size() == known; ++i)
    for (const Piece& piece : open->dataset->plan(open->ranges[open->next++]).pieces) add(piece);
  return true;
}

void Staging::Impl::add(const Piece& piece) {
  const ByteSource& source = *piece.source;
  if (by_source.contains(&source)) return;  // this thread alone adds to it
  File* file = nullptr;
  if (source.is_file() && !lies_in(options.folder, source.path())) {
    const auto known = by_path.find(source.path());
    if (known == by_path.end()) {
      const SourceFile looked_at = look_at_source(source.path());
      const std::lock_guard lock(mutex);
      file = &files.emplace_back(File{.source = looked_at, .engine = source.engine()});
      by_path[source.path()] = file;
      ++counts.files;
      counts.bytes += looked_at.bytes;
    } else {
      file = known->second;
    }
  }
  const std::lock_guard lock(mutex);
  by_source[&source] = file;
}

/// Begins to read the copy, after making it where that is this process's work; or finds that it has gone.
void Staging::Impl::settle(File& file, const std::stop_token& stop) {
  std::shared_ptr<const FileBytes> copy;
  {
    const std::lock_guard lock(mutex);
    if (file.failures >= kMostFailures || rounds < file.next_try) return;
    copy = file.copy;
  }
  if (copy && std::filesystem::exists(folder.path_of(file.source))) return;
  if (copy) {
    const std::lock_guard lock(mutex);
    file.copy.reset();
  }
  try {
    if (is_there(file, stop)) adopt(file);
  } catch (const Error& error) {
    const std::lock_guard lock(mutex);
    if (file.failures++ == 0) warn(fmt::format("{}; the file is read where it is", error.what()));
    file.next_try = rounds + kPatience;
  }
}

/// Whether there is a copy that may be read.
bool Staging::Impl::is_there(File& file, const std::stop_token& stop) {
  if (!token.empty() && folder.is_checked(file.source, token)) return true;
  return lease && bring(file, stop);
}

bool Staging::Impl::bring(File& file, const std::stop_token& stop) {
  std::uint64_t before = 0;
  const auto counting = [&](std::uint64_t& counted) {
    before = 0;
    return [this, &stop, &counted, &before](std::uint64_t done) {
      const auto now = std::chrono::steady_clock::now();
      if (now - beaten > kBeat) {
        beaten = now;
        if (!lease->beat()) return false;
      }
      const std::lock_guard lock(mutex);
      counted += done - std::exchange(before, done);
      return !stop.stop_requested();
    };
  };
  if (folder.has_record(file.source)) {
    switch (folder.check(file.source, token, counting(counts.checked_bytes))) {
      case Checked::good:
        return true;
      case Checked::ended:
        return false;
      case Checked::bad:
        warn(fmt::format("the copy of {} is damaged: it is made again", file.source.path));
        const std::lock_guard lock(mutex);
        ++counts.bad_copies;
    }
  }
  if (!has_room(file.source)) {
    file.next_try = rounds + kPatience;
    return false;
  }
  return folder.copy(file.source, token, counting(counts.copied_bytes));
}

/// Gives up copies for it only when it is known which files are still to come.
bool Staging::Impl::has_room(const SourceFile& file) {
  const auto look = [&] {
    std::set<std::string> wanted;
    for (const File& one : files) wanted.insert(one.source.copy);
    return make_room(folder.copies(), wanted, file.bytes,
                     {.capacity = options.capacity_bytes, .floor = options.floor_bytes}, folder.free_bytes());
  };
  auto victims = look();
  if (!victims) return false;
  if (!victims->empty()) {
    while (look_through()) continue;
    victims = look();
  }
  if (victims) give_up(*victims);
  return victims.has_value();
}

void Staging::Impl::adopt(File& file) {
  auto copy = std::make_shared<const FileBytes>(folder.path_of(file.source).string(), file.engine);
  if (copy->size() != file.source.bytes) return;
  const std::lock_guard lock(mutex);
  file.copy = std::move(copy);
}

void Staging::Impl::give_up(const std::vector<StoredCopy>& copies) {
  for (const StoredCopy& copy : copies) {
    folder.remove(copy.name);
    const std::lock_guard lock(mutex);
    ++counts.evicted;
    for (File& file : files)
      if (file.source.copy == copy.name) file.copy.reset();
  }
}

/// Somebody else fills the disk, or an earlier job was allowed more.
void Staging::Impl::hold_limits() {
  const std::vector<StoredCopy> there = folder.copies();
  const std::uint64_t free = folder.free_bytes(), capacity = options.capacity_bytes;
  std::uint64_t taken = 0;
  for (const StoredCopy& copy : there) taken += copy.bytes;
  const std::uint64_t below_floor = options.floor_bytes - std::min(free, options.floor_bytes);
  const std::uint64_t above_capacity = capacity > 0 ? taken - std::min(taken, capacity) : 0;
  std::vector<std::string> order;
  for (const File& file : files) order.push_back(file.source.copy);
  give_up(choose_victims(there, order, std::max(below_floor, above_capacity)));
}

void Staging::Impl::tell() {
  const StagingStatistics now = [this] {
    const std::lock_guard lock(mutex);
    return counts_now();
  }();
  if (!lease || now.files == 0) return;
  std::string text =
      fmt::format("staging: {} of {} files ({} of {}) are read from {}", now.staged_files, now.files,
                  gigabytes(now.staged_bytes), gigabytes(now.bytes), folder.path().string());
  if (now.staged_files < now.files)
    text += fmt::format(
        "; the others are read where they are: there is no room for them ({}), or they cannot be copied",
        setting("stage_size"));
  if (text != told) options.logger.info(text);
  told = std::move(text);
}

/// @pre the mutex is held
StagingStatistics Staging::Impl::counts_now() const {
  StagingStatistics now = counts;
  for (const File& file : files) {
    if (!file.copy) continue;
    ++now.staged_files;
    now.staged_bytes += file.source.bytes;
  }
  return now;
}

Staging::Staging(StagingOptions options) {
  options.validate();
  impl_ = std::make_unique<Impl>(std::move(options));
}

Staging::~Staging() = default;

void Staging::expect(DatasetPtr dataset, std::vector<std::size_t> ranges) {
  const std::lock_guard lock(impl_->mutex);
  if (std::ranges::find(impl_->expected, dataset, &Impl::Expected::dataset) != impl_->expected.end()) return;
  impl_->expected.push_back({.dataset = std::move(dataset), .ranges = std::move(ranges)});
  impl_->woken = true;
  impl_->wake.notify_all();
}

std::optional<StagedPlan> Staging::redirect(const ReadPlan& plan) const {
  std::optional<StagedPlan> staged;
  const std::lock_guard lock(impl_->mutex);
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const auto found = impl_->by_source.find(plan.pieces[i].source);
    if (found == impl_->by_source.end() || found->second == nullptr || !found->second->copy) continue;
    if (!staged) staged.emplace(StagedPlan{.plan = plan, .copies = {}});
    const auto& copy = found->second->copy;
    staged->plan.pieces[i].source = copy.get();
    if (staged->copies.empty() || staged->copies.back() != copy) staged->copies.push_back(copy);
  }
  return staged;
}

void Staging::distrust(const StagedPlan& plan) {
  Impl& self = *impl_;
  const std::lock_guard lock(self.mutex);
  for (Impl::File& file : self.files) {
    if (!file.copy || std::ranges::find(plan.copies, file.copy) == plan.copies.end()) continue;
    self.warn(
        fmt::format("the copy of {} gives other bytes than were written: the file is read where it is, "
                    "and copied again",
                    file.source.path));
    self.folder.remove(file.source.copy);
    file.copy.reset();
    ++file.failures;
    ++self.counts.bad_copies;
    self.woken = true;
  }
  self.wake.notify_all();
}

StagingStatistics Staging::statistics() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->counts_now();
}

}  // namespace bunchtrain::data
