// SPDX-License-Identifier: Apache-2.0
#pragma once
/// All files of an JetDataset with the label of every row: what its parts share.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "io/engine_choice.hpp"
#include "jet_file.hpp"
#include "labelled_files.hpp"
#include "row_ranges.hpp"

namespace bunchtrain::data {

/// Opens the files, reads label, selection, split key, weight and targets of every row once. Memory: 2 bytes
/// per row, 4 more with a split key, 8 more with weights, for each target, and where rows are ragged. Immutable, thread-safe.
class JetSource {
 public:
  static constexpr std::int16_t kDropped = -2;  ///< as a label: not selected, or of no class

  JetSource(const JetDatasetOptions& options, std::span<const LabelledFile> files, features::Card card);

  const std::vector<JetFile>& files() const noexcept { return files_; }
  const std::vector<RowRange>& ranges() const noexcept { return ranges_; }
  std::size_t rows() const noexcept { return labels_.size(); }
  std::int16_t label(std::size_t row) const noexcept { return labels_[row]; }
  bool kept(std::size_t row) const noexcept { return labels_[row] != kDropped; }
  /// What keeps rows together in a split: the card's key, or the row's number.
  bool splits_by_key() const noexcept { return !keys_.empty(); }
  std::uint64_t split_key(std::size_t row) const noexcept { return keys_.empty() ? row : keys_[row]; }
  /// Value of the card's sample weight; 1 where card or file has none.
  double weight(std::size_t row) const noexcept { return weights_.empty() ? 1 : weights_[row]; }
  /// The targets that are read.
  const std::vector<std::string>& targets() const noexcept { return pipeline_.targets(); }
  /// Value of one of them, by its place among `targets()`; NaN where the file has none.
  double target(std::size_t number, std::size_t row) const noexcept { return targets_[number][row]; }
  /// What is known of the elements of rows, by row; empty vectors unless their numbers differ.
  const features::ElementCounts& elements() const noexcept { return elements_; }
  const features::FeaturePipeline& pipeline() const noexcept { return pipeline_; }
  /// Rows left out or read as fill values, by reason.
  const RowCounts& counts() const noexcept { return counts_; }
  /// The card with its classes and length as the user chose, nothing fitted yet.
  const features::Card& card() const noexcept { return card_; }
  /// Whether parts read the particles that there are, to be padded batch by batch.
  bool pads_to_longest() const noexcept { return pads_to_longest_; }
  /// The card that samples are made by: then with ragged batches.
  features::Card delivered(features::Card card) const {
    card.ragged = card.ragged || pads_to_longest_;
    return card;
  }
  const std::string& fingerprint() const noexcept { return fingerprint_; }
  const std::vector<FileIdentity>& identities() const noexcept { return identities_; }
  const Logger& logger() const noexcept { return logger_; }
  const io::EngineChoice& engine() const noexcept { return engine_; }
  /// What reading all rows found, for `JetDatasetOptions::known_rows` of another process.
  std::string rows_as_bytes() const;
  /// False if somebody else did, and told what was found.
  bool labels_read() const noexcept { return labels_read_; }

 private:
  void read_labels(int threads);
  features::RowSelection read_labels(const RowRange& range);
  void take_labels(std::string_view rows);
  void require_same_rows(std::string_view rows) const;
  [[noreturn]] void refuse_rows() const;
  template <class Self, class Action>
  static bool for_each_column(Self& self, Action action);
  void make_room_for_elements();
  void keep_elements(const features::RowSelection& selection, std::size_t first_row);
  void count_filled_rows();
  void take_fingerprint(std::span<const LabelledFile> named, bool hash_data);

  Logger logger_;
  io::EngineChoice engine_;
  features::Card card_;
  bool pads_to_longest_ = false;
  features::FeaturePipeline pipeline_;  ///< of the card as `delivered`
  std::vector<JetFile> files_;
  std::vector<RowRange> ranges_;
  std::vector<std::int16_t> labels_;
  std::vector<std::uint32_t> keys_;
  std::vector<double> weights_;
  std::vector<std::vector<double>> targets_;
  features::ElementCounts elements_;
  RowCounts counts_;
  bool labels_read_ = true;
  std::string fingerprint_;
  std::vector<FileIdentity> identities_;
};

}  // namespace bunchtrain::data
