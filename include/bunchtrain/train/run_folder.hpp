// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The folder of one run: where everything about it is kept.

#include <filesystem>
#include <string>

#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::train {

/// Paths inside a run folder. The folder exists on the file system that rank 0 sees.
class RunFolder {
 public:
  struct Request {
    std::string path;     ///< empty: runs/PROGRAM-YYYYMMDD-HHMMSS
    std::string program;  ///< for the default name
    bool resume = false;  ///< an existing run is wanted (or a new folder: starts afresh)
  };
  /// Collective: rank 0 makes the folder, all ranks agree on its name.
  /// @throws ConfigError if it holds a run already and `resume` is off (with the ways out), or cannot be
  /// written.
  static RunFolder open(const mpi::Comm& control, const Request& request);
  /// An existing run, for reading. @throws ConfigError if the folder holds none.
  static RunFolder existing(const std::filesystem::path& path);

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path description() const { return path_ / "run.json"; }
  std::filesystem::path card() const { return path_ / "card.toml"; }
  std::filesystem::path curves() const { return path_ / "curves.json"; }
  std::filesystem::path sections() const { return path_ / "sections.json"; }
  std::filesystem::path report() const { return path_ / "report.html"; }
  std::filesystem::path events() const { return path_ / "events"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  /// Whether a run has been started in it.
  bool holds_run() const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace bunchtrain::train
