// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <utility>

#include "shower_sums.hpp"

namespace bunchtrain::metrics {
namespace {

/// 60 bins from 1 keV to 10 GeV, even in the logarithm.
std::vector<double> default_cell_edges() {
  constexpr int kBins = 60;
  std::vector<double> edges;
  for (int i = 0; i <= kBins; ++i) edges.push_back(std::pow(10, -6 + 7.0 * i / kBins));
  return edges;
}

}  // namespace

ShowerRow::ShowerRow(const CellGeometry& geometry, std::size_t spectrum_bins) {
  std::size_t place = kProfiles;
  const auto take = [&](std::size_t columns) { return std::exchange(place, place + columns); };
  for (std::size_t axis = 0; axis < 3; ++axis) {
    profile[axis] = take(static_cast<std::size_t>(geometry.bins(axis)));
  }
  spectrum = take(spectrum_bins);
  squares = place;
  const bool has_views = !geometry.image.empty();
  side_view = take(has_views ? static_cast<std::size_t>(geometry.bins(0) * geometry.bins(2)) : 0);
  top_view = take(has_views ? static_cast<std::size_t>(geometry.bins(1) * geometry.bins(2)) : 0);
  size = place;
}

ShowerMeasurement::ShowerMeasurement(const CellGeometry& geometry, const ShowerBinning& binning)
    : cell_edges_(binning.cell_edges.empty() ? default_cell_edges() : binning.cell_edges),
      row_(geometry, cell_edges_.size() - 1),
      threshold_(static_cast<float>(binning.hit_threshold)),
      has_views_(!geometry.image.empty()) {
  const auto layers = static_cast<std::size_t>(geometry.bins(2));
  for (std::size_t i = 0; i < static_cast<std::size_t>(geometry.size()); ++i) {
    Cell cell{};
    std::array<std::size_t, 3> bin{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      bin[axis] = static_cast<std::size_t>(geometry.bin[axis][i]);
      cell.centre[axis] = static_cast<float>(geometry.centre[axis][i]);
      cell.profile[axis] = static_cast<std::uint32_t>(row_.profile[axis] + bin[axis]);
    }
    cell.side = static_cast<std::uint32_t>(row_.side_view + bin[0] * layers + bin[2]);
    cell.top = static_cast<std::uint32_t>(row_.top_view + bin[1] * layers + bin[2]);
    cells_.push_back(cell);
  }
}

std::size_t ShowerMeasurement::spectrum_bin(float energy) const {
  const auto above = std::upper_bound(cell_edges_.begin(), cell_edges_.end(), static_cast<double>(energy));
  return static_cast<std::size_t>(above - cell_edges_.begin()) - 1;  // wraps to a huge number below the first
}

std::int64_t ShowerMeasurement::measure(std::span<const float> cells, double energy,
                                        std::span<double> values) const {
  std::fill(values.begin(), values.end(), 0.0);
  const std::size_t spectrum_bins = cell_edges_.size() - 1;
  std::int64_t unsound = 0;
  double total = 0, hits = 0;
  std::array<double, 3> first{}, second{};
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const float deposit = cells[i];
    if (deposit == 0) continue;  // most cells
    if (!(deposit > 0) || std::isinf(deposit)) {
      ++unsound;
      continue;
    }
    const Cell& cell = cells_[i];
    total += deposit;
    hits += deposit > threshold_ ? 1 : 0;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const double moment = static_cast<double>(deposit) * cell.centre[axis];
      first[axis] += moment;
      second[axis] += moment * cell.centre[axis];
      values[cell.profile[axis]] += deposit;
    }
    if (const std::size_t bin = spectrum_bin(deposit); bin < spectrum_bins) values[row_.spectrum + bin] += 1;
    if (has_views_) {
      values[cell.side] += deposit;
      values[cell.top] += deposit;
    }
  }
  values[ShowerRow::kEnergy] = energy;
  values[ShowerRow::kFraction] = total / energy;
  values[ShowerRow::kSum] = total;
  values[ShowerRow::kHits] = hits;
  for (std::size_t axis = 0; axis < 3 && total > 0; ++axis) {
    const double mean = first[axis] / total;
    values[ShowerRow::kFirst + axis] = mean;
    values[ShowerRow::kSecond + axis] = std::max(0.0, second[axis] / total - mean * mean);
  }
  return unsound;
}

}  // namespace bunchtrain::metrics
