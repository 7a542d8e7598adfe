// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The folder of one run: where everything about it is kept.

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::train {

class RunLock;

/// Paths inside a run folder, and the right to write there.
///
/// A folder has one writer: `open` takes its lock (`run.lock`, held by rank 0), refuses if another process
/// that lives has it, and takes it over from a dead one. The lock is given back when the last copy of the
/// object dies. Readers (`existing`) need none.
class RunFolder {
 public:
  struct Request {
    std::string path;     ///< empty: a new folder runs/PROGRAM-YYYYMMDD-HHMMSS[-JOB]-RANDOM
    std::string program;  ///< for the default name
    bool resume = false;  ///< an existing run is wanted (or a new folder: starts afresh)
    std::function<void(const std::string&)> say = {};  ///< told on rank 0 what goes on with the lock
    /// How often the lock shows a sign of life.
    std::chrono::milliseconds heartbeat = std::chrono::seconds(10);
  };
  /// Collective: rank 0 makes the folder and takes its lock; all ranks agree on its absolute path and prove
  /// that they see the same folder.
  /// @throws ConfigError if it holds a run already and `resume` is off (with the ways out), cannot be
  /// written, belongs to a living process, or is not shared; IoError for a full disk.
  static RunFolder open(const mpi::Comm& control, const Request& request);
  /// An existing run, for reading. @throws ConfigError if the folder holds none.
  static RunFolder existing(const std::filesystem::path& path);
  /// Gives all locks of this process back, for an end without destructors. Not collective.
  static void release_locks() noexcept;

  /// Whether the lock was lost: another process took it over, or the folder was removed. Known on rank 0.
  bool is_lost() const noexcept;
  /// Collective: before something is written that must not be written twice. @throws ConfigError on all ranks
  /// if the lock was lost.
  void require_owned(const mpi::Comm& control) const;

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path description() const { return path_ / "run.json"; }
  std::filesystem::path card() const { return path_ / "card.toml"; }
  /// Which way each convolution goes on a GPU.
  std::filesystem::path convolutions() const { return path_ / "convolutions.json"; }
  /// Where version 0.1 kept the results of a classifier.
  static constexpr const char* kOldCurves = "curves.json";
  std::filesystem::path old_curves() const { return path_ / kOldCurves; }
  std::filesystem::path sections() const { return path_ / "sections.json"; }
  std::filesystem::path report() const { return path_ / "report.html"; }
  std::filesystem::path events() const { return path_ / "events"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  /// Of the best weights (`weights::read_bundle`); of one network of several by its name.
  std::filesystem::path bundle(const std::string& network = {}) const {
    return path_ / (network.empty() ? "bundle" : "bundle-" + network);
  }
  /// Whether a run has been started in it.
  bool holds_run() const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
  std::shared_ptr<RunLock> lock_;  // on rank 0 of a folder that was opened
};

}  // namespace bunchtrain::train
