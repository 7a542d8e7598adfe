// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is measured on a sample of showers, in bins of energy and angle; mergeable over ranks.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/metrics/cell_geometry.hpp"

namespace bunchtrain::metrics {

/// How showers are sorted and histogrammed. Both samples of a comparison take the same.
struct ShowerBinning {
  std::vector<double> energy_edges = {};  ///< GeV, n + 1 for n bins; showers outside are counted but not used
  std::vector<double> theta_edges = {};   ///< rad; empty = no bins in angle
  double hit_threshold = 2e-4;            ///< GeV: what counts as a hit (0.2 MeV as published)
  std::vector<double> cell_edges =
      {};  ///< GeV, of the cell spectrum; empty = 60 bins, logarithmic, 1e-6 to 10
  /// Sampling fraction cell sum / primary energy and hit multiplicity: histogram ranges.
  double highest_fraction = 0.06;
  std::int64_t fraction_bins = 60;

  /// `bins` energy bins with edges that are round numbers between both.
  static ShowerBinning between(double lowest_energy, double highest_energy, std::int64_t bins = 4);
  bool operator==(const ShowerBinning&) const = default;
  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Mean with its statistical error.
struct Estimate {
  double value = 0;
  double error = 0;
};

/// A histogram: sums of weights per bin with errors; contents are means per shower.
struct ShowerHistogram {
  std::vector<double> edges = {};
  std::vector<double> contents = {};
  std::vector<double> errors = {};
};

/// The observables of one bin (energy, angle), or of all showers.
struct ShowerBinResult {
  std::string label = {};  ///< "20-40 GeV", "20-40 GeV, 60-80 deg", "all"
  std::int64_t showers = 0;
  Estimate fraction = {};                       ///< cell sum / primary energy
  Estimate fraction_width = {};                 ///< standard deviation of it
  Estimate hits = {};                           ///< cells above the threshold
  Estimate theta = {};                          ///< measured angle, rad; error 0 without angles
  std::array<ShowerHistogram, 3> profile = {};  ///< mean GeV per shower along x, y, z
  std::array<std::array<Estimate, 2>, 3> moments =
      {};                              ///< per axis: mean position and variance, energy-weighted
  ShowerHistogram cell_spectrum = {};  ///< cells per shower and bin of cell energy
  ShowerHistogram fraction_histogram = {};
  ShowerHistogram hit_histogram = {};
  ShowerHistogram theta_histogram = {};
};

/// Everything measured on one sample.
struct ShowerSummary {
  std::string name = {};
  std::int64_t showers = 0;
  std::int64_t outside = 0;  ///< in no energy (or angle) bin
  std::int64_t empty = 0;    ///< without any energy in the cells; not in moments
  std::vector<ShowerBinResult> bins =
      {};  ///< the first one is "all", then energy bins, within them angle bins
  /// Pearson correlations of cell sum, hits, and first and second moments, over all showers.
  std::vector<std::string> correlated = {};
  std::vector<std::vector<double>> correlation = {};
  ShowerBinning binning = {};
  CellGeometry geometry = {};
  at::Tensor examples =
      {};  ///< [n, X, Y, Z] GeV: first showers of the sample, for pictures; undefined unless one grid
  at::Tensor example_energy = {};  ///< [n] GeV
  at::Tensor example_theta = {};   ///< [n] rad, undefined without angles
};

/// Accumulates showers batch by batch. Memory does not grow with their number. Not thread-safe.
class ShowerStatistics {
 public:
  ShowerStatistics(CellGeometry geometry, ShowerBinning binning, std::int64_t examples = 8);
  ~ShowerStatistics();
  ShowerStatistics(ShowerStatistics&&) noexcept;
  ShowerStatistics& operator=(ShowerStatistics&&) noexcept;

  /// @param cells [B, ...] GeV, any shape of `geometry.size()` cells per shower. @param energy [B] GeV.
  /// @param theta [B] rad, the angle showers are sorted by, may be undefined. @param measured_theta [B] rad,
  /// may be undefined. @throws DataError for cells that are negative or not finite.
  void add(const at::Tensor& cells, const at::Tensor& energy, const at::Tensor& theta = {},
           const at::Tensor& measured_theta = {});
  /// Collective. Results over the showers of all ranks (examples are rank 0's).
  ShowerSummary compute(comm::Communicator& communicator, std::string name) const;
  /// The same of this process alone.
  ShowerSummary compute(std::string name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::metrics
