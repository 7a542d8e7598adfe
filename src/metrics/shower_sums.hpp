// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is measured on one shower as a row of numbers, and sums of rows from which means and errors follow.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/metrics/shower_statistics.hpp"

namespace bunchtrain::metrics {

/// Places of the observables in a row. Those before `squares` get errors, the others means alone.
struct ShowerRow {
  static constexpr std::size_t kEnergy = 0, kFraction = 1, kTheta = 2;
  /// From here the quantities whose correlations are kept: cell sum, hits, first and second moments.
  static constexpr std::size_t kSum = 3, kHits = 4, kFirst = 5, kSecond = 8, kProfiles = 11;
  static constexpr std::size_t kCorrelated = kProfiles - kSum;

  ShowerRow(const CellGeometry& geometry, std::size_t spectrum_bins);

  std::array<std::size_t, 3> profile = {};
  std::size_t spectrum = 0;
  std::size_t squares = 0;
  std::size_t side_view = 0;  ///< [x][z], then at `top_view` [y][z]; empty unless one grid
  std::size_t top_view = 0;
  std::size_t size = 0;
};

/// Measures showers of one geometry. Immutable, thread-safe.
class ShowerMeasurement {
 public:
  ShowerMeasurement(const CellGeometry& geometry, const ShowerBinning& binning);

  const ShowerRow& row() const noexcept { return row_; }
  const std::vector<double>& cell_edges() const noexcept { return cell_edges_; }
  /// Fills `values`, a whole row, with everything but the angle. @returns cells that are negative or not
  /// finite, which count nowhere.
  std::int64_t measure(std::span<const float> cells, double energy, std::span<double> values) const;

 private:
  struct Cell {
    std::array<float, 3> centre;
    std::array<std::uint32_t, 3> profile;
    std::uint32_t side, top;
  };
  std::size_t spectrum_bin(float energy) const;

  std::vector<double> cell_edges_;
  ShowerRow row_;
  std::vector<Cell> cells_;
  float threshold_;
  bool has_views_;
};

/// Sums over the showers of one bin. Merging is adding `values` element by element.
class ShowerSums {
 public:
  ShowerSums(const ShowerRow& row, const CellGeometry& geometry, const ShowerBinning& binning);

  void add(std::span<const double> row);
  void merge(const ShowerSums& other);
  std::span<double> values() noexcept { return values_; }
  std::span<const double> values() const noexcept { return values_; }

  std::int64_t showers() const { return static_cast<std::int64_t>(values_[kShowers]); }
  std::int64_t dark() const { return static_cast<std::int64_t>(values_[kDark]); }
  std::int64_t empty() const { return static_cast<std::int64_t>(values_[kShowers] - values_[kFilled]); }
  bool has_theta() const { return values_[kAngles] > 0; }
  /// All means, errors and histograms; no label.
  ShowerBinResult evaluate(const CellGeometry& geometry, const std::vector<double>& cell_edges) const;
  /// Pearson correlations of `ShowerRow::kSum` and what follows it.
  std::vector<std::vector<double>> correlation() const;

 private:
  // Counts: showers, those with energy in the cells, those with a measured angle, those without a hit; then
  // sums of the sampling fraction to the powers 3 and 4, for the error of its width.
  static constexpr std::size_t kShowers = 0, kFilled = 1, kAngles = 2, kDark = 3, kThird = 4, kFourth = 5,
                               kSums = 6;
  struct Histogram {
    std::size_t begin;
    std::size_t bins;
    double first, width;
  };
  double sum(std::size_t column) const { return values_[kSums + column]; }
  double square(std::size_t column) const { return values_[squares_ + column]; }
  Estimate mean(std::size_t column, double count) const;
  Estimate fraction_width() const;
  ShowerHistogram means(std::size_t column, const std::vector<double>& edges) const;
  ShowerHistogram shares(const Histogram& histogram, double count) const;
  ShowerProjection view(std::size_t column, std::int64_t rows, std::int64_t columns) const;
  void count(const Histogram& histogram, double value);

  ShowerRow row_;
  std::size_t squares_, products_;
  Histogram fractions_, hits_, angles_;
  std::vector<double> values_;
};

}  // namespace bunchtrain::metrics
