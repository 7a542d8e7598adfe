// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The datasets that a repack reads: those of all files, row by row behind each other.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/repack.hpp"
#include "shard_writer.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {

/// A row that is wanted, over all files, and its place in a buffer.
struct WantedRow {
  std::uint64_t row;
  std::uint64_t place;
};

/// Files of one layout, opened and mapped. Immutable.
class RepackSources {
 public:
  /// @throws ConfigError, DataError: see `repack`.
  explicit RepackSources(const RepackOptions& options);

  const std::vector<TargetDataset>& targets() const noexcept { return targets_; }
  std::int64_t rows() const noexcept { return first_rows_.back(); }
  const std::vector<std::filesystem::path>& files() const noexcept { return files_; }
  std::int64_t bytes() const noexcept { return bytes_; }  ///< of the files

  /// Puts rows of one of the targets at their places in `out`. @param wanted ascending by row @throws DataError
  void read(std::size_t target, std::span<const WantedRow> wanted, std::span<std::byte> out) const;

 private:
  void open(const std::filesystem::path& file, const RepackOptions& options);
  std::vector<std::string> choose(const std::filesystem::path& file, const RepackOptions& options) const;
  void take_type(const std::filesystem::path& file, const StoredDataset& dataset, std::size_t index);
  void choose_chunks(const RepackOptions& options);

  std::vector<std::filesystem::path> files_;
  std::vector<std::vector<StoredDataset>> datasets_;  ///< of each file, by target
  std::vector<std::int64_t> first_rows_ = {0};        ///< of each file, and behind the last
  std::vector<hdf5::Datatype> types_;
  std::vector<TargetDataset> targets_;
  std::int64_t bytes_ = 0;
};

}  // namespace bunchtrain::data
