// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which rows of the datasets of elements (hits, particles) belong to which sample of a file.

#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "storage/opened_file.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {

/// Read once, at opening: 8 bytes per sample.
struct ElementRows {
  /// Of elements one behind the other [samples + 1]: sample i has the rows row_splits[i] to row_splits[i + 1] - 1.
  /// Empty if they are padded.
  std::vector<std::int64_t> row_splits = {};
  std::vector<std::int64_t> counts = {};     ///< [samples] of padded ones that a dataset counts, else empty
  std::vector<StoredDataset> datasets = {};  ///< that say so
  std::string origin = {};                   ///< "FILE, dataset 'row_splits'", for messages

  bool ragged() const noexcept { return !row_splits.empty(); }
  /// What `raw` says of its rows, for the samples [first, first + count).
  void cut(std::size_t first, std::size_t count, features::RawColumns& raw) const;
  std::size_t samples() const noexcept { return ragged() ? row_splits.size() - 1 : counts.size(); }
};

/// @param card its [layout] is asked; without a name it is of the setting row_splits, for messages
/// @throws DataError naming file, dataset and row: a dataset is missing or no column of whole numbers; row splits that
/// do not begin at 0 or descend, counts below 0, events whose numbers descend or are not among the file's events.
ElementRows read_element_rows(const OpenedFile& file, const features::Card& card);

/// @throws DataError if the dataset `where` of elements has other than `rows` rows in all.
void require_element_rows(const ElementRows& elements, const std::string& where, std::size_t rows);
/// @throws DataError for a sample that counts more elements than the `slots` of its row.
void require_counts_within(const ElementRows& elements, const std::string& where, std::size_t slots);

}  // namespace bunchtrain::data
