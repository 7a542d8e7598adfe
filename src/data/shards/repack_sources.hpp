// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The datasets that a repack reads: those of all files, row by row behind each other.

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/repack.hpp"
#include "bunchtrain/features/card.hpp"
#include "hits/element_rows.hpp"
#include "shard_writer.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {

/// Rows that follow one another, over all files, and the place of the first of them in a buffer.
struct WantedRows {
  std::uint64_t first, count, place;
};

/// Files of one layout, opened and mapped. Immutable.
class RepackSources {
 public:
  /// @throws ConfigError, DataError: see `repack`.
  explicit RepackSources(const RepackOptions& options);

  /// What is copied: row splits are not, they are made anew for each shard.
  const std::vector<TargetDataset>& targets() const noexcept { return targets_; }
  std::int64_t rows(RowAxis axis) const noexcept { return first_rows_[place_of(axis)].back(); }
  /// Of the elements of all files [samples + 1]; empty if all datasets have a row per sample.
  std::span<const std::int64_t> row_splits() const noexcept { return row_splits_; }
  /// The dataset of row splits; empty where datasets of samples say which elements are whose.
  const std::string& row_splits_name() const noexcept { return card_.layout.row_splits.dataset; }
  const std::vector<std::filesystem::path>& files() const noexcept { return files_; }
  std::int64_t bytes() const noexcept { return bytes_; }  ///< of the files

  /// Puts rows of one of the targets at their places in `out`. @param wanted ascending, apart @throws DataError
  void read(std::size_t target, std::span<const WantedRows> wanted, std::span<std::byte> out) const;

 private:
  static std::size_t place_of(RowAxis axis) noexcept { return static_cast<std::size_t>(axis); }
  bool ragged() const noexcept { return features::has_ragged_rows(card_); }
  void open(const std::filesystem::path& file, const RepackOptions& options);
  std::vector<std::string> choose(const std::filesystem::path& file, const RepackOptions& options) const;
  void take_type(const std::filesystem::path& file, const StoredDataset& dataset, std::size_t index);
  void take_rows(const std::filesystem::path& file, const ElementRows& elements);
  void take_axis(const StoredDataset& dataset, const ElementRows& elements, std::size_t index);
  void settle_axes();
  void choose_chunks(const RepackOptions& options);

  features::Card card_;  ///< whose [layout] says which elements are whose
  std::vector<std::filesystem::path> files_;
  std::vector<std::vector<StoredDataset>> datasets_;  ///< of each file, by target
  std::array<std::vector<std::int64_t>, kRowAxes.size()> first_rows_ = {
      std::vector<std::int64_t>{0}, std::vector<std::int64_t>{0}};  ///< of each file, and behind the last
  std::vector<std::int64_t> row_splits_;
  std::vector<hdf5::Datatype> types_;
  std::vector<TargetDataset> targets_;
  std::vector<std::array<bool, kRowAxes.size()>>
      fits_;  ///< of each target: axes that have its rows in every file
  std::int64_t bytes_ = 0;
};

}  // namespace bunchtrain::data
