// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Copies of data files on a node's own disk, made while training reads from where the files are.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/data/dataset.hpp"

namespace bunchtrain::data {

struct StagingOptions {
  std::filesystem::path folder = {};  ///< on the node's own disk; made if it is missing
  /// That copies may take, those of other jobs included; 0: what is free.
  std::uint64_t capacity_bytes = 0;
  /// That stay free on the disk: below it copies are given up, the one that is read last first.
  std::uint64_t floor_bytes = std::uint64_t{1} << 30;
  Logger logger = {};

  /// @throws ConfigError for an empty folder
  void validate() const;
};

struct StagingStatistics {
  std::size_t files = 0;            ///< known so far
  std::size_t staged_files = 0;     ///< read from their copies now
  std::uint64_t bytes = 0;          ///< of the files
  std::uint64_t staged_bytes = 0;   ///< of those copies
  std::uint64_t copied_bytes = 0;   ///< by this process
  std::uint64_t checked_bytes = 0;  ///< of copies of earlier jobs, read and compared with their checksums
  std::size_t evicted = 0;          ///< copies given up for others, or for the floor
  std::size_t bad_copies = 0;       ///< found damaged
  bool is_stager = false;           ///< whether this process copies for its node
};

/// The plan of a range whose files have copies here. Holds what it reads from.
struct StagedPlan {
  ReadPlan plan;  ///< the same bytes in the same order
  std::vector<std::shared_ptr<const ByteSource>> copies;
};

/// One process of a node copies (by a lease in the folder, which dies with it), all read what it has copied: give each
/// process's `DataLoaderOptions` one. Files are copied whole, in the order of their first use, beside the reading; a copy
/// counts once it is complete, synchronised, and its checksum written. What does not fit is read from its
/// source, and stays so: no file of the training is given up for another one. Copies stay for the next job, which
/// reads them once for their checksums. Trouble with the folder is a warning, never the end of a run. Thread-safe.
class Staging {
 public:
  /// Starts a thread. @throws ConfigError
  explicit Staging(StagingOptions options);
  /// Ends the copy that is under way, gives the lease back.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// The files of these ranges will be read in this order. Once for each dataset: later calls change nothing.
  void expect(DatasetPtr dataset, std::vector<std::size_t> ranges);
  /// The plan with copies in place of files; nothing if none of its files has one.
  std::optional<StagedPlan> redirect(const ReadPlan& plan) const;
  /// What was read by it is not what it should be: the copies are made again, from now on until then the files
  /// themselves are read.
  void distrust(const StagedPlan& plan);
  StagingStatistics statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
