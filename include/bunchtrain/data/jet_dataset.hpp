// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Jets in HDF5 files, described by a data card.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/data/class_files.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/data/io_engine.hpp"

namespace bunchtrain::data {

/// Slots of the shortest batches that are padded to their longest jet: networks look for neighbours.
inline constexpr std::int64_t kLeastLength = 32;

struct JetDatasetOptions {
  std::vector<std::string> files = {};  ///< paths and globs
  /// Files whose jets are all of one class (`--data g=g.h5`, see `parse_data_words`): the class is the label.
  std::vector<ClassFiles> class_files = {};
  /// built-in name, path of a .toml, or "auto": recognised if exactly one built-in card fits.
  std::string card = "auto";
  std::int64_t length = 0;  ///< 0 = the card's padded length
  /// Batches have all particles, one jet's behind another's, with row splits, instead of the padded length for each
  /// (also a card's `batches = "ragged"`).
  bool ragged = false;
  /// Batches are padded to the longest jet of each (a multiple of 8, at least `kLeastLength`, the padded length at most),
  /// and `DataLoaderOptions::length_bucket_batches` can make that small. Card, fitted values and the particles that are
  /// read stay the same. Without effect on cards of ragged batches.
  bool pad_to_longest = false;
  std::vector<std::string> classes = {};  ///< empty = the card's order
  /// Which of the card's targets are read; files need the columns of these alone.
  std::vector<std::string> targets = {};
  /// false: unlabelled files are read with label -1, files without targets with NaN for them, and nothing is
  /// dropped (evaluate).
  bool labels_required = true;
  bool allow_plugins = false;  ///< HDF5 filter plug-ins (they load code named by the file)
  int threads = 1;             ///< for the first pass over labels
  /// Fingerprints take in every byte of the files (`--hash-data`), not only what almost any change moves.
  bool hash_data = false;
  IoEngine io = IoEngine::automatic;  ///< which engine fetches the bytes of the files
  /// `JetDataset::rows_as_bytes` of the same files and options in another process of this machine: the first pass
  /// over all rows is left out. Looked at while the files are opened. Empty: rows are read.
  std::string_view known_rows = {};
  Logger logger = {};
};

/// Files with one layout. Opening maps every dataset (addresses of chunks), selects rows and counts classes;
/// samples are decoded outside HDF5's lock where the layout allows, else through H5Dread (`summary().paths`
/// says which and why). Read-only, file locking off. Immutable, cheap to copy, thread-safe.
class JetDataset {
 public:
  /// @throws DataError: no file, not HDF5, truncated, missing dataset (those present and the nearest card),
  /// rows that were never written or whose source is missing (unless the card says `missing = "fill"`),
  /// wrong rank or type, missing filter, labels outside the classes, values that are not finite, weights that
  /// teach nothing, a target that is the same for all, no row selected, no particle. ConfigError for a target
  /// that the card lacks. DataError for
  /// `known_rows` of other files.
  explicit JetDataset(JetDatasetOptions options);
  /// The same from an already resolved card (a run folder's), so that evaluation computes the same features.
  JetDataset(JetDatasetOptions options, features::Card card);
  ~JetDataset();
  JetDataset(const JetDataset&);
  JetDataset& operator=(const JetDataset&);

  /// Disjoint parts by the card's split key if it has one, else by row; a pure function of (data, seed). What
  /// the card leaves to the data ("auto" inputs, balanced weights, scales of targets) is fitted to the training
  /// part. @throws ConfigError if a part is empty.
  DatasetSplit split(const SplitOptions& options) const;
  /// Everything in stored order, fitted to everything.
  DatasetPtr all() const;
  /// The card of `all()`.
  const features::Card& card() const noexcept;
  std::int64_t size() const noexcept;
  /// For scores: file and row behind each sample, and the number of rows of each file.
  struct RowReference {
    std::int32_t file;
    std::int64_t row;
  };
  RowReference row_of(std::int64_t sample) const;
  /// The same of every sample of `all()`, or of a part of a `split`.
  std::vector<RowReference> rows_of(const Dataset& part) const;
  /// Where a file of `files()` stood among those that a split was made of.
  struct FilePlace {
    std::int64_t index = 0;      ///< from 0
    std::int64_t first_row = 0;  ///< rows of the files before it
  };
  /// Whether such a split kept a row for validation. With a split key in the card only files that still stand
  /// at their old index can be told.
  bool is_validated(RowReference row, const SplitOptions& options, FilePlace place) const;
  const std::vector<std::filesystem::path>& files() const noexcept;
  /// What the first pass over all rows found (labels, selection, split keys, weights, targets, lengths), for
  /// `known_rows`: a few bytes per row. Valid in this version of the library, on this kind of machine.
  std::string rows_as_bytes() const;
  /// False if it was opened with `known_rows`.
  bool labels_read() const noexcept;
  std::int64_t rows_in_file(std::size_t file) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace bunchtrain::data
