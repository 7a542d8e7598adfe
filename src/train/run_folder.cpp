// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/run_folder.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "run_lock.hpp"

namespace bunchtrain::train {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kShareTime{10};  // for caches of network file systems

/// Two jobs that start in the same second, or two tasks of an array, get two names.
std::string default_path(const std::string& program) {
  const std::string job = batch_job_suffix();
  return fmt::format("runs/{}-{:%Y%m%d-%H%M%S}{}-{}", program, fmt::gmtime(std::time(nullptr)),
                     job.empty() ? "" : "-" + job, random_suffix(6));
}

void make_folder(const fs::path& path) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (!failed) return;
  const std::string message = fmt::format("the run folder {} cannot be made: {}; name another with {}",
                                          path.string(), failed.message(), setting("run"));
  if (may_pass(failed.value()) && failed.value() != EROFS)  // what is read-only from the start stays so
    throw IoError(message, failed.value());
  throw ConfigError(message);
}

void require_new(const RunFolder& folder) {
  if (!folder.holds_run()) return;
  const auto owner = read_lock(folder.path() / "run.lock");
  const bool trains =
      owner && owner->process != this_process() && state_of(owner->process) != ProcessState::gone;
  throw ConfigError(fmt::format(
      "the run folder {} holds a run already{}: go on with it by {}, name another by {}, or remove it",
      folder.path().string(), trains ? ", in which " + owner->describe() + " trains" : "", setting("resume"),
      setting("run")));
}

/// `--run . --card card.toml` would replace the card: files of a run that lie where
/// there is none are others'.
void require_free_names(const RunFolder& folder) {
  if (folder.holds_run()) return;
  for (const auto& path : {folder.card(), folder.report(), folder.old_curves(), folder.sections()})
    if (fs::exists(path))
      throw ConfigError(
          fmt::format("{} exists, and no run made it: a run in this folder would replace it; name another "
                      "folder with {}",
                      path.string(), setting("run")));
}

/// The lock that rank 0 took must be seen by all.
void require_shared(const fs::path& path, const std::string& nonce, const mpi::Comm& control) {
  const auto end = std::chrono::steady_clock::now() + kShareTime;
  do {
    const auto owner = read_lock(path / "run.lock");
    if (owner && owner->nonce == nonce) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  } while (std::chrono::steady_clock::now() < end);
  throw ConfigError(fmt::format(
      "the run folder {} of rank 0 on {} is not seen on {}: name a folder of a file system that all "
      "ranks share by {}",
      path.string(), control.process_of(0).host, control.process_of(control.rank()).host, setting("run")));
}

}  // namespace

bool RunFolder::holds_run() const {
  return fs::exists(description()) || fs::exists(metrics()) || fs::exists(checkpoints());
}

RunFolder RunFolder::open(const mpi::Comm& control, const Request& request) {
  const auto phase = control.in_phase("opening the run folder", mpi::Waits::for_disk);
  const bool is_root = control.rank() == 0;
  std::string wanted;
  control.together([&] {
    if (is_root)
      wanted = fs::absolute(request.path.empty() ? default_path(request.program) : request.path)
                   .lexically_normal()
                   .string();
  });
  RunFolder folder(control.broadcast(wanted));
  std::optional<RunLock::Attempt> attempt;
  control.together([&] {
    if (!is_root) return;
    if (!request.resume) require_new(folder);
    require_free_names(folder);
    make_folder(folder.path());
    attempt.emplace(folder.path(), RunLock::Options{.interval = request.heartbeat, .say = request.say});
  });
  for (bool owned = false;
       !owned;) {  // the others meet rank 0 between its steps: they need not wait in silence
    control.together([&] {
      if (is_root) folder.lock_ = attempt->step();
    });
    owned = control.all_max(folder.lock_ ? 1 : 0) > 0;
  }
  control.together([&] {
    if (is_root && !request.resume) require_new(folder);  // a run may have ended meanwhile
  });
  const std::string nonce = control.broadcast(is_root ? folder.lock_->nonce() : std::string());
  control.together([&] { require_shared(folder.path(), nonce, control); });
  return folder;
}

RunFolder RunFolder::existing(const fs::path& path) {
  RunFolder folder(path);
  if (!folder.holds_run())
    throw ConfigError(
        fmt::format("{} holds no run (no run.json, metrics.jsonl or checkpoints): give the folder that a "
                    "trainer's {} named",
                    path.string(), setting("run")));
  return folder;
}

void RunFolder::release_locks() noexcept { RunLock::release_all(); }

bool RunFolder::is_lost() const noexcept { return lock_ && lock_->lost(); }

void RunFolder::require_owned(const mpi::Comm& control) const {
  if (control.all_max(is_lost() ? 1 : 0) == 0) return;
  std::string owner;
  if (const auto now = read_lock(path_ / "run.lock")) owner = now->describe();
  owner = control.broadcast(owner);
  throw ConfigError(fmt::format(
      "the run folder {} does not belong to this job any more: {}. Nothing more is written "
      "there; go on by {} once it is free, or with another folder",
      path_.string(), owner.empty() ? "run.lock was removed" : owner + " took it over", setting("resume")));
}

}  // namespace bunchtrain::train
