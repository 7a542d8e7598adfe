// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Calorimeter showers in HDF5 files, described by a shower card.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/data/io_engine.hpp"
#include "bunchtrain/features/shower_card.hpp"

namespace bunchtrain::data {

struct ShowerDatasetOptions {
  std::vector<std::string> files = {};  ///< paths and globs
  std::string card = "auto";            ///< built-in name, path of a .toml, or recognised
  bool physical = false;  ///< cells in GeV (validation) instead of the card's image scale and power
  /// False: showers are judged as they are. The card's `minimum_sum` leaves none out, not even those without
  /// energy, and energies that do not fit its `ratio` are a warning.
  bool select = true;
  /// Of each image only the cells [slab_begin, slab_end) along x, a rank's slab; both 0: all. Showers without chunks, in raw
  /// chunks, and chunks that divide x, are read without the cells of others. Selection, "sum" and angles are of all cells.
  std::int64_t slab_begin = 0, slab_end = 0;
  bool allow_plugins = false;  ///< HDF5 filter plug-ins (they load code named by the file)
  int threads = 1;             ///< for the first pass over the showers
  /// Fingerprints take in every byte of the files (`--hash-data`), not only what almost any change moves.
  bool hash_data = false;
  IoEngine io = IoEngine::automatic;  ///< which engine fetches the bytes of the files
  Logger logger = {};
};

/// What the first pass found among the selected showers.
struct ShowerOverview {
  std::int64_t showers = 0;  ///< in the files, also those left out
  double lowest_energy = 0;  ///< primary energy, GeV
  double highest_energy = 0;
  double sampling_fraction = 0;  ///< median of cell sum over energy, of the first file
  double lowest_theta = 0;       ///< rad; without meaning unless the card has an angle
  double highest_theta = 0;
};

/// Files with one layout. Samples are decoded chunk by chunk while the loader runs; memory does
/// not grow with the files.
///
/// Tensors of a batch: "image" [B, X, Y, Z] float32 (blocks of different shapes: "image" [B, cells]),
/// "energy" [B] float32 GeV, "sum" [B] float32 (all cells, in the image's unit without its power), and with
/// angles "theta" and "measured_theta" [B] float32 rad ("theta" is the measured one where the file has no
/// true angle). Immutable, cheap to copy, thread-safe.
class ShowerDataset {
 public:
  /// The first pass reads every cell once: it selects showers and finds what is wrong before training.
  /// @throws DataError: no file, not HDF5, truncated, a dataset missing (those present and the nearest card)
  /// or of another grid, cells negative or not finite (file, row, how many), all showers empty, energies that
  /// do not fit the card's ratio (MeV by mistake is said).
  explicit ShowerDataset(ShowerDatasetOptions options);
  ShowerDataset(ShowerDatasetOptions options, features::ShowerCard card);
  ~ShowerDataset();
  ShowerDataset(const ShowerDataset&);
  ShowerDataset& operator=(const ShowerDataset&);

  /// By file if the card says so and there are several, else by shower; a pure function of (data, seed).
  /// @throws ConfigError if a part is empty.
  DatasetSplit split(const SplitOptions& options) const;
  DatasetPtr all() const;
  const features::ShowerCard& card() const noexcept;
  std::int64_t size() const noexcept;
  const ShowerOverview& overview() const noexcept;
  /// Smallest and largest primary energy of the selected showers, GeV.
  double lowest_energy() const noexcept;
  double highest_energy() const noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace bunchtrain::data
