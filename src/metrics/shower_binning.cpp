// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/metrics/shower_statistics.hpp"

namespace bunchtrain::metrics {
namespace {

void check_edges(std::string_view field, const std::vector<double>& edges) {
  const bool finite = std::all_of(edges.begin(), edges.end(), [](double e) { return std::isfinite(e); });
  const bool ascending = std::adjacent_find(edges.begin(), edges.end(),
                                            [](double a, double b) { return !(a < b); }) == edges.end();
  if (edges.size() < 2 || !finite || !ascending) {
    throw ConfigError(field, fmt::format("{}", fmt::join(edges, ", ")),
                      "two or more finite numbers in ascending order");
  }
}

}  // namespace

ShowerBinning ShowerBinning::between(double lowest_energy, double highest_energy, std::int64_t bins) {
  const bool fine = lowest_energy > 0 && highest_energy >= lowest_energy && std::isfinite(highest_energy);
  if (!fine) {
    throw ConfigError("energies", fmt::format("{} to {} GeV", lowest_energy, highest_energy),
                      "positive numbers, the lower one first");
  }
  if (bins < 1) throw ConfigError("bins", fmt::format("{}", bins), "1 or more");
  // Samples of one energy get one bin around it.
  if (highest_energy - lowest_energy < 1e-3 * highest_energy) {
    return {.energy_edges = {0.95 * lowest_energy, 1.05 * highest_energy}};
  }
  const double width = (highest_energy - lowest_energy) / static_cast<double>(bins);
  const double unit = std::pow(10, std::floor(std::log10(width / 2)));
  ShowerBinning binning;
  // Energies are float32 in most files: 100 may be stored as 100.00001 and must not open another decade.
  constexpr double kSlack = 1e-4;
  binning.energy_edges.push_back(std::floor(lowest_energy / unit + kSlack) * unit);
  for (std::int64_t i = 1; i < bins; ++i) {
    const double edge = lowest_energy + width * static_cast<double>(i);
    binning.energy_edges.push_back(std::round(edge / unit) * unit);
  }
  binning.energy_edges.push_back(std::ceil(highest_energy / unit - kSlack) * unit);
  binning.energy_edges.front() = std::min(binning.energy_edges.front(), lowest_energy);
  binning.energy_edges.back() = std::max(binning.energy_edges.back(), highest_energy);
  return binning;
}

void ShowerBinning::validate() const {
  check_edges("energy_edges", energy_edges);
  if (!theta_edges.empty()) check_edges("theta_edges", theta_edges);
  if (!cell_edges.empty()) check_edges("cell_edges", cell_edges);
  if (!(hit_threshold >= 0))
    throw ConfigError("hit_threshold", fmt::format("{}", hit_threshold), "0 or more GeV");
  const bool fraction_fine = highest_fraction > 0 && std::isfinite(highest_fraction);
  if (!fraction_fine) {
    throw ConfigError("highest_fraction", fmt::format("{}", highest_fraction), "a positive number");
  }
  if (fraction_bins < 1) throw ConfigError("fraction_bins", fmt::format("{}", fraction_bins), "1 or more");
}

}  // namespace bunchtrain::metrics
