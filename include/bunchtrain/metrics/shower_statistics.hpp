// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is measured on a sample of showers, in bins of energy and angle; mergeable over ranks.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/metrics/cell_geometry.hpp"
#include "bunchtrain/metrics/estimate.hpp"

namespace bunchtrain::metrics {

/// How showers are sorted and histogrammed. Both samples of a comparison take the same. Bins hold their lower
/// edge; the last one of energy and of angle also its upper edge.
struct ShowerBinning {
  std::vector<double> energy_edges = {};  ///< GeV, n + 1 for n bins; showers outside are counted but not used
  std::vector<double> theta_edges = {};   ///< rad; empty = no bins in angle
  double hit_threshold = 2e-4;            ///< GeV: what counts as a hit (0.2 MeV as published)
  /// GeV, of the cell spectrum; empty = 60 bins, logarithmic, 1e-6 to 10.
  std::vector<double> cell_edges = {};
  /// Histogram of the sampling fraction (cell sum / primary energy); larger fractions count in the last bin.
  double highest_fraction = 0.06;
  std::int64_t fraction_bins = 600;

  /// `bins` energy bins with edges that are round numbers, around both energies.
  static ShowerBinning between(double lowest_energy, double highest_energy, std::int64_t bins = 4);
  bool operator==(const ShowerBinning&) const = default;
  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Means per shower and bin with their errors. For a quantity that a shower has once (sampling fraction), the
/// fraction of showers in each bin.
struct ShowerHistogram {
  std::vector<double> edges = {};
  std::vector<double> contents = {};
  std::vector<double> errors = {};
};

/// A mean image seen from a side, [row][column] GeV per shower; empty unless the cells are one grid.
using ShowerProjection = std::vector<std::vector<double>>;

/// The observables of one bin (energy, angle), or of all showers.
struct ShowerBinResult {
  std::string label = {};        ///< "20-40 GeV", "20-40 GeV, 60-80 deg", "all"
  std::int64_t energy_bin = -1;  ///< -1: all energies
  std::int64_t theta_bin = -1;   ///< -1: all angles
  std::int64_t showers = 0;
  Estimate energy = {};                         ///< primary, GeV
  Estimate fraction = {};                       ///< cell sum / primary energy
  Estimate fraction_width = {};                 ///< standard deviation of it
  Estimate hits = {};                           ///< cells above the threshold
  Estimate theta = {};                          ///< measured angle, rad; error 0 without angles
  std::array<ShowerHistogram, 3> profile = {};  ///< mean GeV per shower along x, y, z
  /// Per axis: mean position and variance, energy-weighted.
  std::array<std::array<Estimate, 2>, 3> moments = {};
  ShowerHistogram cell_spectrum = {};  ///< cells per shower and bin of cell energy
  ShowerHistogram fraction_histogram = {};
  ShowerHistogram hit_histogram = {};
  ShowerHistogram theta_histogram = {};
  ShowerProjection side_view = {};  ///< [x][z]
  ShowerProjection top_view = {};   ///< [y][z]
};

/// Everything measured on one sample.
struct ShowerSummary {
  std::string name = {};
  std::int64_t showers = 0;   ///< in the bins
  std::int64_t outside = 0;   ///< in no energy (or angle) bin
  std::int64_t empty = 0;     ///< without any energy in the cells; not in moments and angles
  std::int64_t dark = 0;      ///< without a cell above the hit threshold, the empty ones among them
  std::int64_t left_out = 0;  ///< by the card's selection, before any of this
  bool has_theta = false;     ///< angles were measured

  /// Parts of the showers, those left out as empty among them.
  double empty_share() const noexcept;
  double dark_share() const noexcept;
  /// The first one is "all", then energy bins, each followed by its angle bins.
  std::vector<ShowerBinResult> bins = {};
  /// Pearson correlations of cell sum, hits, and first and second moments, over all showers.
  std::vector<std::string> correlated = {};
  std::vector<std::vector<double>> correlation = {};
  ShowerBinning binning = {};
  CellGeometry geometry = {};
  /// [n, X, Y, Z] GeV, for pictures: of each of n bins the shower nearest to its middle in energy and angle;
  /// undefined unless one grid.
  at::Tensor examples = {};
  at::Tensor example_energy = {};  ///< [n] GeV
  at::Tensor example_theta = {};   ///< [n] rad, undefined without angles

  /// The bins of energy alone, without "all" and without angles.
  std::vector<const ShowerBinResult*> energy_bins() const;
  /// The angle bins of one energy bin.
  std::vector<const ShowerBinResult*> angle_bins(std::int64_t energy_bin) const;
};

/// Accumulates showers batch by batch. Memory does not grow with their number. Not thread-safe;
/// uses LibTorch's threads.
class ShowerStatistics {
 public:
  /// @throws ConfigError as `ShowerBinning::validate`.
  ShowerStatistics(CellGeometry geometry, ShowerBinning binning, std::int64_t examples = 8);
  ~ShowerStatistics();
  ShowerStatistics(ShowerStatistics&&) noexcept;
  ShowerStatistics& operator=(ShowerStatistics&&) noexcept;

  /// @param cells [B, ...] GeV, any shape of `geometry.size()` cells per shower. @param energy [B] GeV.
  /// @param theta [B] rad, the angle showers are sorted by, may be undefined. @param measured_theta [B] rad,
  /// may be undefined. Any device. @throws DataError for cells that are negative or not finite and for
  /// energies that are not positive, ConfigError for another number of cells; nothing is added then.
  void add(const at::Tensor& cells, const at::Tensor& energy, const at::Tensor& theta = {},
           const at::Tensor& measured_theta = {});
  /// Collective. Results over the showers of all ranks, the same on every rank (examples are the rank's own).
  ShowerSummary compute(comm::Communicator& communicator, std::string name) const;
  /// The same of this process alone.
  ShowerSummary compute(std::string name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::metrics
