// SPDX-License-Identifier: Apache-2.0
#include "run_lock.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::train {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr int kMissedBeats = 3;
constexpr std::string_view kBeat = "beat ";
constexpr int kBeatDigits = 16;
constexpr milliseconds kStep{1000};     // longest work of one step of an attempt
constexpr milliseconds kLook{100};      // between two looks at a lock
constexpr milliseconds kSettling{300};  // after which the last of several takers is known

std::string content_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string beat_text(std::uint64_t beats) { return fmt::format("{:0{}}", beats, kBeatDigits); }

std::string to_text(const LockOwner& owner) {
  return fmt::format("{}{}\nprocess {}\njob {}\nsince {}\nnonce {}\n", kBeat, beat_text(owner.beats),
                     owner.process.to_line(), owner.job, owner.since, owner.nonce);
}

std::optional<LockOwner> parse(const std::string& content) {
  LockOwner owner;
  std::istringstream lines(content);
  try {
    for (std::string line; std::getline(lines, line);) {
      const auto space = line.find(' ');
      if (space == std::string::npos) return std::nullopt;
      const std::string key = line.substr(0, space), value = line.substr(space + 1);
      if (key == "beat") owner.beats = std::stoull(value);
      if (key == "process") owner.process = ProcessIdentity::from_line(value);
      if (key == "job") owner.job = value;
      if (key == "since") owner.since = value;
      if (key == "nonce") owner.nonce = value;
    }
  } catch (const std::exception&) {
    return std::nullopt;
  }
  if (owner.nonce.empty()) return std::nullopt;
  return owner;
}

const char* variable(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? text : nullptr;
}

/// A batch system's names for a job and its task in an array.
struct BatchSystem {
  const char* name;
  const char* job;
  const char* task;
};
constexpr std::array<BatchSystem, 5> kBatchSystems = {{{"SLURM", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID"},
                                                       {"PBS", "PBS_JOBID", "PBS_ARRAY_INDEX"},
                                                       {"LSF", "LSB_JOBID", "LSB_JOBINDEX"},
                                                       {"HTCondor", "CONDOR_JOB_ID", "CONDOR_PROCNO"},
                                                       {"Grid Engine", "JOB_ID", "SGE_TASK_ID"}}};

/// The locks that this process holds.
struct Held {
  std::mutex mutex;
  std::vector<std::pair<fs::path, std::string>> locks;  // file and nonce
};
Held& held() {
  static auto& all = *new Held;  // outlives static objects: an end without destructors uses it
  return all;
}

void remove_if_own(const fs::path& file, const std::string& nonce) noexcept {
  try {
    const auto owner = read_lock(file);
    if (owner && owner->nonce == nonce) ::unlink(file.c_str());
  } catch (const std::exception&) {
    // It is taken over as a dead one's.
  }
}

}  // namespace

std::string LockOwner::describe() const {
  std::string details = job;
  if (!since.empty()) details += fmt::format("{}since {}", details.empty() ? "" : ", ", since);
  const std::string name = fmt::format("process {} on {}", process.pid, process.host);
  return details.empty() ? name : fmt::format("{} ({})", name, details);
}

std::optional<LockOwner> read_lock(const fs::path& lock_file) { return parse(content_of(lock_file)); }

std::string batch_job() {
  for (const auto& [system, job, task] : kBatchSystems) {
    if (const char* id = variable(job)) {
      const char* index = variable(task);
      return fmt::format("{} job {}{}", system, id, index ? fmt::format(", task {}", index) : "");
    }
  }
  return {};
}

std::string batch_job_suffix() {
  for (const auto& [system, job, task] : kBatchSystems) {
    if (const char* id = variable(job)) {
      const char* index = variable(task);
      std::string suffix = index ? fmt::format("{}_{}", id, index) : std::string(id);
      for (char& letter : suffix)
        if (std::strchr("/ \t[]", letter) != nullptr) letter = '-';
      return suffix;
    }
  }
  return {};
}

std::string random_suffix(int digits) {
  std::random_device device;
  std::string text;
  while (static_cast<int>(text.size()) < digits) text += fmt::format("{:08x}", device());
  return text.substr(0, static_cast<std::size_t>(digits));
}

RunLock::RunLock(fs::path file, int descriptor, std::string nonce, milliseconds interval)
    : file_(std::move(file)), descriptor_(descriptor), nonce_(std::move(nonce)), interval_(interval) {
  {
    const std::scoped_lock lock(held().mutex);
    held().locks.emplace_back(file_, nonce_);
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { beat(stop); });
}

RunLock::~RunLock() {
  thread_.request_stop();
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  release();
  ::close(descriptor_);
}

void RunLock::release() noexcept {
  const std::scoped_lock lock(held().mutex);
  if (std::erase(held().locks, std::pair(file_, nonce_)) > 0) remove_if_own(file_, nonce_);
}

void RunLock::release_all() noexcept {
  const std::scoped_lock lock(held().mutex);
  for (const auto& [file, nonce] : held().locks) remove_if_own(file, nonce);
  held().locks.clear();
}

void RunLock::beat(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (std::uint64_t beats = 1;; ++beats) {
    wake_.wait_for(lock, stop, interval_, [] { return false; });
    if (stop.stop_requested()) return;
    // Into the file that we made: if another process put its own in place, ours is no longer seen.
    const std::string text = beat_text(beats);
    [[maybe_unused]] const auto written =
        ::pwrite(descriptor_, text.data(), text.size(), static_cast<off_t>(kBeat.size()));
    ::fsync(descriptor_);
    struct stat mine = {}, there = {};
    const bool known = ::fstat(descriptor_, &mine) == 0;
    if (::stat(file_.c_str(), &there) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) lost_ = true;
    } else if (known && (there.st_ino != mine.st_ino || there.st_dev != mine.st_dev)) {
      lost_ = true;
    }
  }
}

RunLock::Attempt::Attempt(fs::path folder, Options options)
    : folder_(std::move(folder)),
      file_(folder_ / "run.lock"),
      options_(std::move(options)),
      nonce_(random_suffix(16)) {}

std::unique_ptr<RunLock> RunLock::Attempt::step() {
  const auto end = std::chrono::steady_clock::now() + kStep;
  do {
    if (auto lock = create()) return lock;
    const std::string content = content_of(file_);
    if (content.empty() && !fs::exists(file_)) continue;  // given back just now
    const auto owner = parse(content);
    switch (owner ? state_of(owner->process) : ProcessState::unseen) {
      case ProcessState::gone:
        if (auto lock = take_over(content)) {
          if (options_.say)
            options_.say(fmt::format("the lock of {} is taken over from {}, which is gone", folder_.string(),
                                     owner->describe()));
          return lock;
        }
        break;
      case ProcessState::unseen:
        if (auto lock = watch(content, owner)) return lock;
        break;
      default:
        refuse(owner);
    }
    std::this_thread::sleep_for(std::min(kLook, options_.interval));
  } while (std::chrono::steady_clock::now() < end);
  return nullptr;
}

/// Of a process on another machine, or of a lock that cannot be read: alive if it changes.
std::unique_ptr<RunLock> RunLock::Attempt::watch(const std::string& content,
                                                 const std::optional<LockOwner>& owner) {
  const auto now = std::chrono::steady_clock::now();
  if (watched_ && watched_->content != content) refuse(owner);
  const std::string who = owner ? owner->describe() : std::string("an unknown process");
  if (!watched_) {
    watched_ = {content, now};
    if (options_.say)
      options_.say(fmt::format("{} is locked by {}: looking for {:.3g} s whether that lives",
                               folder_.string(), who,
                               kMissedBeats * static_cast<double>(options_.interval.count()) / 1000));
  }
  if (now - watched_->since <= kMissedBeats * options_.interval) return nullptr;
  auto lock = take_over(content);
  if (lock && options_.say)
    options_.say(fmt::format("the lock of {} is taken over from {}, which gave no sign of life",
                             folder_.string(), who));
  return lock;
}

void RunLock::Attempt::refuse(const std::optional<LockOwner>& owner) const {
  const std::string state =
      owner && state_of(owner->process) == ProcessState::stopped ? ", though it is stopped now" : "";
  throw ConfigError(fmt::format(
      "{} trains in the run folder {}{}: wait for its end or name another folder by {}. Once it is dead its "
      "lock is taken over by itself, on another machine after {:.3g} s",
      owner ? owner->describe() : "a process on another machine", folder_.string(), state, setting("run"),
      kMissedBeats * static_cast<double>(options_.interval.count()) / 1000));
}

/// A new file with our name in it; its descriptor.
int RunLock::Attempt::write_own(const fs::path& temporary) const {
  const int descriptor = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  const std::string text =
      to_text({.process = options_.self,
               .job = options_.job,
               .since = fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(std::time(nullptr))),
               .nonce = nonce_});
  if (descriptor >= 0 && ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
      ::fsync(descriptor) == 0)
    return descriptor;
  const int code = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
    ::unlink(temporary.c_str());
  }
  const std::string what =
      fmt::format("the run folder {} cannot be written: {}", folder_.string(), std::strerror(code));
  if (may_pass(code) && code != EROFS)  // a file system that is read-only from the start stays so
    throw IoError(what + "; free some space or name another with " + setting("run"), code);
  throw ConfigError(what + "; name another with " + setting("run"));
}

std::unique_ptr<RunLock> RunLock::Attempt::create() {
  if (fs::exists(file_)) return nullptr;
  const fs::path temporary = fmt::format("{}.partial-{}-{}", file_.string(), ::getpid(), nonce_);
  int descriptor = write_own(temporary);
  bool made = ::link(temporary.c_str(), file_.c_str()) == 0;
  if (!made && errno != EEXIST && !fs::exists(file_)) {
    // No links here: the name is made first and filled then; a torn one is watched like a foreign machine's.
    ::close(descriptor);
    ::unlink(temporary.c_str());
    descriptor = write_own(file_);
    made = true;
  }
  ::unlink(temporary.c_str());
  if (!made) {
    ::close(descriptor);
    return nullptr;
  }
  clean_leftovers();
  return std::unique_ptr<RunLock>(new RunLock(file_, descriptor, nonce_, options_.interval));
}

/// Replaces a dead owner's file, unless another process does.
std::unique_ptr<RunLock> RunLock::Attempt::take_over(const std::string& dead_content) {
  const int old = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  if (old < 0) return nullptr;
  // Takers on one machine, and on several where flock reaches so far, go one after the other.
  const bool busy = ::flock(old, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (busy || content_of(file_) != dead_content) {
    ::close(old);
    return nullptr;
  }
  const fs::path temporary = fmt::format("{}.partial-{}-{}", file_.string(), ::getpid(), nonce_);
  const int descriptor = write_own(temporary);
  const bool renamed = ::rename(temporary.c_str(), file_.c_str()) == 0;
  ::close(old);
  // Elsewhere the last of several renames counts, and all takers see which one that was.
  std::this_thread::sleep_for(std::min(kSettling, options_.interval));
  const auto owner = read_lock(file_);
  if (!renamed || !owner || owner->nonce != nonce_) {
    ::close(descriptor);
    ::unlink(temporary.c_str());
    watched_.reset();
    return nullptr;
  }
  clean_leftovers();
  return std::unique_ptr<RunLock>(new RunLock(file_, descriptor, nonce_, options_.interval));
}

/// Of processes that were killed while they wrote their names.
void RunLock::Attempt::clean_leftovers() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored))
    if (entry.path().filename().string().starts_with("run.lock.partial-")) fs::remove(entry.path(), ignored);
}

}  // namespace bunchtrain::train
