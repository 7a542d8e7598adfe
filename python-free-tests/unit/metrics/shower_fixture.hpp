// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Small random showers, and what is known of them from loops that share nothing with the product.

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "bunchtrain/metrics/shower_statistics.hpp"

namespace bunchtrain::metrics {

inline constexpr std::array<std::int64_t, 3> kShape = {4, 5, 6};

/// Showers of 4 x 5 x 6 cells, about half of them zero, deposits from 1e-5 to 1e-2 GeV, 10-50 GeV.
struct RandomShowers {
  explicit RandomShowers(std::int64_t count, std::uint64_t seed = 1) {
    const CounterRandom random(seed, 77);
    cells = at::zeros({count, kShape[0], kShape[1], kShape[2]}, at::kFloat);
    energy = at::zeros({count}, at::kFloat);
    theta = at::zeros({count}, at::kFloat);
    std::uint64_t draw = 0;
    for (std::int64_t i = 0; i < cells.numel(); ++i) {
      const double kept = random.uniform(draw++), size = random.uniform(draw++);
      if (kept < 0.5) cells.data_ptr<float>()[i] = static_cast<float>(std::pow(10, -5 + 3 * size));
    }
    for (std::int64_t i = 0; i < count; ++i) {
      energy.data_ptr<float>()[i] = static_cast<float>(10 + 40 * random.uniform(draw++));
      theta.data_ptr<float>()[i] = static_cast<float>(1.2 + 0.8 * random.uniform(draw++));
    }
  }

  std::int64_t size() const { return cells.size(0); }
  float cell(std::int64_t shower, std::int64_t x, std::int64_t y, std::int64_t z) const {
    return cells.const_data_ptr<float>()[((shower * kShape[0] + x) * kShape[1] + y) * kShape[2] + z];
  }
  double primary(std::int64_t shower) const { return energy.const_data_ptr<float>()[shower]; }
  double angle(std::int64_t shower) const { return theta.const_data_ptr<float>()[shower]; }

  at::Tensor cells, energy, theta;
};

/// Calls `visit(x, y, z, deposit)` for every cell of a shower.
inline void for_cells(const RandomShowers& showers, std::int64_t shower,
                      const std::function<void(std::array<std::int64_t, 3>, double)>& visit) {
  for (std::int64_t x = 0; x < kShape[0]; ++x) {
    for (std::int64_t y = 0; y < kShape[1]; ++y) {
      for (std::int64_t z = 0; z < kShape[2]; ++z) visit({x, y, z}, showers.cell(shower, x, y, z));
    }
  }
}

inline double cell_sum(const RandomShowers& showers, std::int64_t shower) {
  double sum = 0;
  for_cells(showers, shower, [&](auto, double deposit) { sum += deposit; });
  return sum;
}

/// Energy-weighted mean position of a shower along an axis, or the variance about it.
inline double moment(const RandomShowers& showers, std::int64_t shower, std::size_t axis, int order) {
  double weighted = 0;
  for_cells(showers, shower,
            [&](auto place, double deposit) { weighted += deposit * static_cast<double>(place[axis]); });
  const double mean = weighted / cell_sum(showers, shower);
  if (order == 1) return mean;
  double spread = 0;
  for_cells(showers, shower, [&](auto place, double deposit) {
    spread += deposit * (static_cast<double>(place[axis]) - mean) * (static_cast<double>(place[axis]) - mean);
  });
  return spread / cell_sum(showers, shower);
}

/// Mean over values with the standard error, in two passes.
inline Estimate two_pass(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, variance = 0;
  for (double value : values) mean += value / n;
  for (double value : values) variance += (value - mean) * (value - mean) / (n - 1);
  return {mean, std::sqrt(variance / n)};
}

inline ShowerBinning test_binning() {
  return {
      .energy_edges = {10, 20, 35, 50}, .theta_edges = {}, .hit_threshold = 2e-4, .highest_fraction = 0.02};
}

inline ShowerStatistics statistics_of(const RandomShowers& showers,
                                      const ShowerBinning& binning = test_binning()) {
  ShowerStatistics statistics(CellGeometry::grid(kShape), binning);
  statistics.add(showers.cells, showers.energy, showers.theta, showers.theta);
  return statistics;
}

}  // namespace bunchtrain::metrics
