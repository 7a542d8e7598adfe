// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/shower_comparison.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "shared_bins.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr std::array<const char*, 3> kAxes = {"x", "y", "z"};
/// Profile bins below this part of the largest one are not held against a candidate.
constexpr double kSmallestShare = 0.01;

std::string describe(const ShowerBinning& binning) {
  std::string text = fmt::format("energy edges {} GeV", fmt::join(binning.energy_edges, ", "));
  if (!binning.theta_edges.empty())
    text += fmt::format(", angle edges {:.4g} rad", fmt::join(binning.theta_edges, ", "));
  text += fmt::format(
      ", hits above {:g} GeV, {} bins of the sampling fraction up to {:g}, {} edges of the cell spectrum",
      binning.hit_threshold, binning.fraction_bins, binning.highest_fraction,
      binning.cell_edges.empty() ? "default" : fmt::format("{}", binning.cell_edges.size()));
  return text;
}

void check_alike(const ShowerSummary& reference, const ShowerSummary& candidate) {
  const auto refuse = [&](std::string_view what, const std::string& here, const std::string& there) {
    throw ConfigError(fmt::format("{} and {} cannot be compared, they have another {}: {} against {}",
                                  reference.name, candidate.name, what, here, there));
  };
  if (reference.geometry != candidate.geometry) {
    refuse("geometry", reference.geometry.describe(), candidate.geometry.describe());
  }
  if (reference.binning != candidate.binning) {
    refuse("binning", describe(reference.binning), describe(candidate.binning));
  }
  for (std::size_t i = 0; i < reference.bins.size(); ++i) {
    if (reference.bins[i].showers > 0 && candidate.bins[i].showers == 0) {
      throw DataError(
          fmt::format("{} has no shower in {}, where {} has {}: give a candidate of the same energies "
                      "(and angles), or other bins",
                      candidate.name, reference.bins[i].label, reference.name, reference.bins[i].showers));
    }
  }
}

double relative_difference(double candidate, double reference) {
  const double difference = candidate - reference;
  if (difference == 0) return 0;
  return difference / std::abs(reference);
}

/// Mean over bins of |P - G| / P.
double profile_distance(const ShowerHistogram& reference, const ShowerHistogram& candidate) {
  double sum = 0;
  std::int64_t bins = 0;
  for (std::size_t i = 0; i < reference.contents.size(); ++i) {
    if (!(reference.contents[i] > 0)) continue;
    sum += std::abs(relative_difference(candidate.contents[i], reference.contents[i]));
    ++bins;
  }
  return bins > 0 ? sum / static_cast<double>(bins) : 0;
}

/// Calls `visit(reference bin, candidate bin)` for each filled bin that `wanted` selects.
using BinVisitor = std::function<void(const ShowerBinResult&, const ShowerBinResult&)>;
void for_filled_bins(const ShowerComparison& comparison,
                     const std::function<bool(const ShowerBinResult&)>& wanted, const BinVisitor& visit) {
  for (std::size_t i = 0; i < comparison.reference.bins.size(); ++i) {
    const ShowerBinResult& bin = comparison.reference.bins[i];
    if (bin.showers > 0 && wanted(bin)) visit(bin, comparison.candidate.bins[i]);
  }
}

bool is_energy_bin(const ShowerBinResult& bin) { return bin.energy_bin >= 0 && bin.theta_bin < 0; }

double angle_distance(const ShowerComparison& comparison, std::int64_t energy_bin) {
  const bool by_angle = !comparison.reference.binning.theta_edges.empty();
  const auto wanted = [&](const ShowerBinResult& bin) {
    return bin.energy_bin == energy_bin && (bin.theta_bin >= 0) == by_angle;
  };
  double sum = 0;
  std::int64_t bins = 0;
  for_filled_bins(comparison, wanted,
                  [&](const ShowerBinResult& reference, const ShowerBinResult& candidate) {
                    if (reference.theta.value == 0) return;  // all of them empty
                    sum += std::abs(relative_difference(candidate.theta.value, reference.theta.value));
                    ++bins;
                  });
  return bins > 0 ? sum / static_cast<double>(bins) : 0;
}

ShowerScore score(const ShowerComparison& comparison) {
  ShowerScore sum;
  std::int64_t bins = 0;
  for_filled_bins(comparison, is_energy_bin,
                  [&](const ShowerBinResult& reference, const ShowerBinResult& candidate) {
                    ++bins;
                    for (std::size_t axis = 0; axis < 3; ++axis) {
                      for (std::size_t order = 0; order < 2; ++order) {
                        const double expected = reference.moments[axis][order].value;
                        const double found = candidate.moments[axis][order].value;
                        // A calorimeter of one layer has no moments along it.
                        if (expected != 0)
                          sum.moments += std::abs(relative_difference(found, expected)) / 3 / 2;
                      }
                      sum.profiles += profile_distance(reference.profile[axis], candidate.profile[axis]) / 3;
                    }
                    if (comparison.reference.has_theta)
                      sum.angle += angle_distance(comparison, reference.energy_bin);
                  });
  if (bins == 0) return {};
  const auto count = static_cast<double>(bins);
  return {.moments = sum.moments / count, .profiles = sum.profiles / count, .angle = sum.angle / count};
}

/// "cells" of "x [cells]".
std::string unit_of(const std::string& label) {
  const std::size_t open = label.find('['), close = label.find(']');
  return close == std::string::npos ? std::string() : label.substr(open + 1, close - open - 1);
}

void add_quantities(ShowerComparison& comparison, const ShowerBinResult& reference,
                    const ShowerBinResult& candidate) {
  const auto add = [&](std::string name, std::string unit, const Estimate& expected, const Estimate& found) {
    comparison.quantities.push_back({.name = std::move(name),
                                     .unit = std::move(unit),
                                     .bin = reference.label,
                                     .reference = expected,
                                     .candidate = found});
  };
  add("sampling fraction", "", reference.fraction, candidate.fraction);
  add("width of the sampling fraction", "", reference.fraction_width, candidate.fraction_width);
  add("hits", "", reference.hits, candidate.hits);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::string unit = unit_of(comparison.reference.geometry.labels[axis]);
    add(fmt::format("first moment {}", kAxes[axis]), unit, reference.moments[axis][0],
        candidate.moments[axis][0]);
    add(fmt::format("second moment {}", kAxes[axis]), fmt::format("{}^2", unit), reference.moments[axis][1],
        candidate.moments[axis][1]);
  }
  if (comparison.reference.has_theta) add("measured theta", "rad", reference.theta, candidate.theta);
}

void find_worst_profile(ShowerComparison& comparison) {
  for_filled_bins(
      comparison, is_energy_bin, [&](const ShowerBinResult& reference, const ShowerBinResult& candidate) {
        for (std::size_t axis = 0; axis < 3; ++axis) {
          const ShowerHistogram& expected = reference.profile[axis];
          const double largest = *std::max_element(expected.contents.begin(), expected.contents.end());
          for (std::size_t i = 0; i < expected.contents.size(); ++i) {
            if (!(expected.contents[i] > kSmallestShare * largest)) continue;
            const double found = candidate.profile[axis].contents[i];
            const double deviation = std::abs(relative_difference(found, expected.contents[i]));
            if (deviation <= comparison.worst_profile) continue;
            comparison.worst_profile = deviation;
            comparison.worst_profile_where =
                fmt::format("{} = {:.4g}, {}", kAxes[axis], (expected.edges[i] + expected.edges[i + 1]) / 2,
                            reference.label);
          }
        }
      });
}

/// The largest relative difference of quantities whose names begin with `prefix`, over energy bins.
const ComparedQuantity* worst_of(const ShowerComparison& comparison,
                                 std::initializer_list<std::string_view> prefixes) {
  const ComparedQuantity* worst = nullptr;
  for (const ComparedQuantity& quantity : comparison.quantities) {
    const bool asked = std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view prefix) {
      return quantity.name.starts_with(prefix);
    });
    const auto bins = comparison.reference.energy_bins();
    const bool counts = std::any_of(bins.begin(), bins.end(),
                                    [&](const ShowerBinResult* bin) { return bin->label == quantity.bin; });
    if (!asked || !counts) continue;
    if (worst == nullptr || std::abs(quantity.relative()) > std::abs(worst->relative())) worst = &quantity;
  }
  return worst;
}

/// Showers that should not be there: counted over all bins, against the reference's own share of them.
void check_share(std::vector<std::string>& lines, std::string_view what, const ShowerComparison& comparison,
                 double (ShowerSummary::*share)() const noexcept, double allowed) {
  const double found = (comparison.candidate.*share)(), expected = (comparison.reference.*share)();
  if (!(allowed > 0) || found - expected <= allowed) return;
  lines.push_back(
      fmt::format("{:.3g} % of the candidate's showers are {}, {:.3g} % of the reference's; allowed "
                  "are {:.3g} % more",
                  100 * found, what, 100 * expected, 100 * allowed));
}

}  // namespace

double ComparedQuantity::relative() const noexcept {
  return relative_difference(candidate.value, reference.value);
}

double ComparedQuantity::pull() const noexcept {
  const double difference = candidate.value - reference.value;
  if (difference == 0) return 0;
  return difference / std::hypot(reference.error, candidate.error);
}

ShowerComparison compare(ShowerSummary reference, ShowerSummary candidate) {
  check_alike(reference, candidate);
  ShowerComparison comparison{.reference = std::move(reference), .candidate = std::move(candidate)};
  comparison.score = score(comparison);
  for_filled_bins(
      comparison, [](const ShowerBinResult&) { return true; },
      [&](const ShowerBinResult& expected, const ShowerBinResult& found) {
        add_quantities(comparison, expected, found);
      });
  find_worst_profile(comparison);
  for (std::size_t i = 0; i < comparison.reference.bins.size(); ++i) {
    share_bins(comparison.reference.bins[i], comparison.candidate.bins[i]);
  }
  return comparison;
}

std::vector<std::string> violations(const ShowerComparison& comparison, const ShowerTolerances& tolerances) {
  if (tolerances.theta > 0 && !(comparison.reference.has_theta && comparison.candidate.has_theta))
    throw ConfigError("tolerance", "theta", "none on the angle: these samples have no angles");
  std::vector<std::string> lines;
  const auto check = [&](double allowed, std::initializer_list<std::string_view> prefixes) {
    const ComparedQuantity* worst = worst_of(comparison, prefixes);
    if (!(allowed > 0) || worst == nullptr || std::abs(worst->relative()) <= allowed) return;
    lines.push_back(fmt::format("{} differs by {:.3g} % at {}, allowed are {:.3g} %", worst->name,
                                100 * std::abs(worst->relative()), worst->bin, 100 * allowed));
  };
  check(tolerances.fraction, {"sampling fraction"});
  if (tolerances.profile > 0 && comparison.worst_profile > tolerances.profile) {
    lines.push_back(fmt::format("profile differs by {:.3g} % at {}, allowed are {:.3g} %",
                                100 * comparison.worst_profile, comparison.worst_profile_where,
                                100 * tolerances.profile));
  }
  check(tolerances.moments, {"first moment", "second moment"});
  check(tolerances.hits, {"hits"});
  check(tolerances.theta, {"measured theta"});
  check_share(lines, "without energy", comparison, &ShowerSummary::empty_share, tolerances.empty);
  check_share(lines, "dark (no cell above the hit threshold)", comparison, &ShowerSummary::dark_share,
              tolerances.dark);
  if (tolerances.score > 0 && !(comparison.score.total() <= tolerances.score)) {
    lines.push_back(
        fmt::format("score is {:.4g}, allowed is {:.4g}", comparison.score.total(), tolerances.score));
  }
  return lines;
}

}  // namespace bunchtrain::metrics
