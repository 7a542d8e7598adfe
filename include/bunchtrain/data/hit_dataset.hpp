// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Hits of events in HDF5 files, described by a card of hits.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/data/io_engine.hpp"

namespace bunchtrain::data {

struct HitDatasetOptions {
  std::vector<std::string> files = {};  ///< paths and globs
  /// built-in name, path of a .toml, or "auto": recognised if exactly one built-in card fits.
  std::string card = "auto";
  std::vector<std::string> classes = {};  ///< empty = the card's order
  /// Which of the card's targets are read; files need the columns of these alone.
  std::vector<std::string> targets = {};
  /// false: files without labels are read with label -1, files without targets with NaN for them.
  bool labels_required = true;
  bool allow_plugins = false;  ///< HDF5 filter plug-ins (they load code named by the file)
  int threads = 1;             ///< for the first pass over labels and masks
  /// Fingerprints take in every byte of the files (`--hash-data`), not only what almost any change moves.
  bool hash_data = false;
  IoEngine io = IoEngine::automatic;  ///< which engine fetches the bytes of the files
  Logger logger = {};
};

/// Files with one layout: hits of all events one behind the other with row splits or counts, rows of hits with the
/// number of their event, or padded rows. A sample is an event. Which hits are whose is read at opening, 8 bytes per
/// event; hits are decoded range by range while the loader runs. Immutable, cheap to copy, thread-safe.
///
/// Tensors of a batch (H hits of B events): the card's inputs [H, F] float32, "row_splits" [B + 1] int64; "label"
/// int64, "weight" and targets float32, each [H] or [B] as the card says of hits or of events; observers
/// "observer.NAME" [B] float64.
class HitDataset {
 public:
  /// @throws DataError: as JetDataset; and, naming file, dataset and row, row splits that do not begin at 0, descend
  /// or end elsewhere than the hits, event numbers that descend, counts beyond the padding, datasets of different
  /// lengths. ConfigError for a card that is none of hits.
  explicit HitDataset(HitDatasetOptions options);
  /// The same from an already resolved card (a run folder's).
  HitDataset(HitDatasetOptions options, features::Card card);
  ~HitDataset();
  HitDataset(const HitDataset&);
  HitDataset& operator=(const HitDataset&);

  /// Disjoint parts by the card's split key if it has one, else by event; a pure function of (data, seed). What the
  /// card leaves to the data ("auto" inputs, balanced weights, scales of targets) is fitted to the training part.
  /// @throws ConfigError if a part is empty.
  DatasetSplit split(const SplitOptions& options) const;
  /// Everything in stored order, fitted to everything.
  DatasetPtr all() const;
  /// The card of `all()`.
  const features::Card& card() const noexcept;
  std::int64_t size() const noexcept;  ///< events
  std::int64_t hits() const noexcept;
  const std::vector<std::filesystem::path>& files() const noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace bunchtrain::data
