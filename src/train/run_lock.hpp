// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One writer per run folder.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "bunchtrain/core/process.hpp"

namespace bunchtrain::train {

/// What `run.lock` says.
struct LockOwner {
  ProcessIdentity process = {};
  std::string job = {};    ///< of the batch system: "SLURM job 123", or ""
  std::string since = {};  ///< "2026-11-27 22:15:00 UTC"
  std::string nonce = {};  ///< tells two locks of one process apart
  std::uint64_t beats = 0;

  /// "process 4711 on node7 (SLURM job 123, since 2026-11-27 22:15:00 UTC)".
  std::string describe() const;
};

/// The owner that `lock_file` names; none if there is no such file or it is no lock.
std::optional<LockOwner> read_lock(const std::filesystem::path& lock_file);

/// "SLURM job 123, task 4" from the variables of batch systems, or "".
std::string batch_job();
/// The same for file names: "123_4", or "".
std::string batch_job_suffix();
/// `digits` random hexadecimal digits.
std::string random_suffix(int digits);

/// The lock of a folder, held from the acquisition to the destruction, which removes it.
///
/// `run.lock` names the owner; a thread advances a counter in it. An owner on this machine is looked up among
/// the processes; one on another machine is dead if the counter stood still for three intervals of our own
/// clock (clocks of two machines are never compared). A dead owner's lock is taken over by one process only.
/// Plain links and renames: works where flock does not.
class RunLock {
 public:
  struct Options {
    ProcessIdentity self = this_process();
    std::string job = batch_job();
    std::chrono::milliseconds interval = std::chrono::seconds(10);
    std::function<void(const std::string&)> say = {};  ///< what a user should know: waiting, taken over
  };

  /// Tries step by step to get a lock, so that who waits for it can do something else meanwhile.
  class Attempt;

  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  const std::string& nonce() const noexcept { return nonce_; }
  /// Whether another process took it over, or it was removed (with the folder).
  bool lost() const noexcept { return lost_; }
  /// Removes the locks that this process holds, for an end without destructors. Thread-safe.
  static void release_all() noexcept;

 private:
  RunLock(std::filesystem::path file, int descriptor, std::string nonce, std::chrono::milliseconds interval);
  void beat(const std::stop_token& stop);
  void release() noexcept;

  std::filesystem::path file_;
  int descriptor_;
  std::string nonce_;
  std::chrono::milliseconds interval_;
  std::atomic<bool> lost_ = false;
  std::atomic<bool> released_ = false;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: joined before what it uses dies
};

class RunLock::Attempt {
 public:
  Attempt(std::filesystem::path folder, Options options);

  /// Works for a second at most; null: call again.
  /// @throws ConfigError naming the owner if it lives; IoError if the disk is full.
  std::unique_ptr<RunLock> step();

 private:
  /// The content of another machine's lock, and since when it has not changed.
  struct Watched {
    std::string content;
    std::chrono::steady_clock::time_point since;
  };

  std::unique_ptr<RunLock> create();
  std::unique_ptr<RunLock> take_over(const std::string& dead_content);
  std::unique_ptr<RunLock> watch(const std::string& content, const std::optional<LockOwner>& owner);
  [[noreturn]] void refuse(const std::optional<LockOwner>& owner) const;
  int write_own(const std::filesystem::path& temporary) const;
  void clean_leftovers() const;

  std::filesystem::path folder_;
  std::filesystem::path file_;
  Options options_;
  std::string nonce_;
  std::optional<Watched> watched_;
};

}  // namespace bunchtrain::train
