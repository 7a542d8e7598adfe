// SPDX-License-Identifier: Apache-2.0
#pragma once
/// All files of an Hdf5Dataset with the label of every row: what its parts share.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/hdf5_dataset.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "card_file.hpp"
#include "labelled_files.hpp"
#include "row_ranges.hpp"

namespace bunchtrain::data {

/// Opens the files, reads label, selection and split key of every row once. Memory: 2 bytes per row, 6 with a
/// split key. Immutable, thread-safe.
class Hdf5Source {
 public:
  static constexpr std::int16_t kDropped = -2;  ///< as a label: not selected, or of no class

  Hdf5Source(const Hdf5DatasetOptions& options, std::span<const LabelledFile> files, features::Card card);

  const std::vector<CardFile>& files() const noexcept { return files_; }
  const std::vector<RowRange>& ranges() const noexcept { return ranges_; }
  std::size_t rows() const noexcept { return labels_.size(); }
  std::int16_t label(std::size_t row) const noexcept { return labels_[row]; }
  bool kept(std::size_t row) const noexcept { return labels_[row] != kDropped; }
  /// What keeps rows together in a split: the card's key, or the row's number.
  bool splits_by_key() const noexcept { return !keys_.empty(); }
  std::uint64_t split_key(std::size_t row) const noexcept { return keys_.empty() ? row : keys_[row]; }
  /// The card with its classes and length as the user chose, nothing fitted yet.
  const features::Card& card() const noexcept { return pipeline_.card(); }
  const std::string& fingerprint() const noexcept { return fingerprint_; }
  const std::vector<FileIdentity>& identities() const noexcept { return identities_; }
  /// Rows read as fill values, over all files: never written.
  std::int64_t filled_rows() const noexcept { return filled_rows_; }
  const Logger& logger() const noexcept { return logger_; }

 private:
  void read_labels(int threads);
  void read_labels(const RowRange& range);
  void count_filled_rows();
  void take_fingerprint(bool hash_data);

  Logger logger_;
  features::FeaturePipeline pipeline_;
  std::vector<CardFile> files_;
  std::vector<RowRange> ranges_;
  std::vector<std::int16_t> labels_;
  std::vector<std::uint32_t> keys_;
  std::string fingerprint_;
  std::vector<FileIdentity> identities_;
  std::int64_t filled_rows_ = 0;
};

}  // namespace bunchtrain::data
