// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/efficiency.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/metrics/roc.hpp"
#include "equal_bins.hpp"

namespace bunchtrain::metrics {
namespace {

/// Numbers of one side, all and those that pass.
struct Passing {
  std::int64_t all = 0, passing = 0;

  void add(bool passes) {
    ++all;
    passing += passes ? 1 : 0;
  }
  Estimate share() const { return proportion(static_cast<double>(passing), static_cast<double>(all)); }
};

/// Signal and background of one bin.
struct Sides {
  Passing signal, background;

  void add(bool is_signal, bool passes) { (is_signal ? signal : background).add(passes); }
};

std::size_t bin_of(const std::vector<double>& edges, double value) {
  const auto above = std::ranges::upper_bound(edges, value) - edges.begin();
  return static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(above - 1, 0, std::ssize(edges) - 2));
}

}  // namespace

void EfficiencyOptions::validate() const {
  if (!(working_point > 0 && working_point <= 1))
    throw ConfigError("working_point", fmt::format("{}", working_point), "a number above 0 and up to 1");
  if (bins < 1) throw ConfigError("bins", std::to_string(bins), "1 or more");
}

EfficiencyCurve efficiency_against(std::span<const double> quantity, std::span<const double> scores,
                                   std::span<const std::uint8_t> is_signal,
                                   const EfficiencyOptions& options) {
  options.validate();
  expects(quantity.size() == scores.size() && scores.size() == is_signal.size(),
          "a quantity, scores and labels of an efficiency must be of one length");
  EfficiencyCurve curve{.threshold = Roc(scores, is_signal).rejection_at(options.working_point).threshold};
  std::vector<double> ascending;
  std::ranges::copy_if(quantity, std::back_inserter(ascending), [](double q) { return std::isfinite(q); });
  std::ranges::sort(ascending);
  curve.left_out = std::ssize(quantity) - std::ssize(ascending);
  const std::vector<double> edges = equally_filled_edges(ascending, options.bins);
  std::vector<Sides> bins(edges.empty() ? 0 : edges.size() - 1);
  Sides all;
  for (std::size_t i = 0; i < quantity.size() && !std::isnan(curve.threshold); ++i) {
    if (!std::isfinite(quantity[i])) continue;
    const bool passes = scores[i] >= curve.threshold;
    all.add(is_signal[i], passes);
    if (!bins.empty()) bins[bin_of(edges, quantity[i])].add(is_signal[i], passes);
  }
  curve.signal = all.signal.share();
  curve.background = all.background.share();
  for (std::size_t i = 0; i < bins.size(); ++i)
    curve.bins.push_back({.low = edges[i],
                          .high = edges[i + 1],
                          .num_signal = bins[i].signal.all,
                          .num_background = bins[i].background.all,
                          .signal = bins[i].signal.share(),
                          .background = bins[i].background.share()});
  return curve;
}

}  // namespace bunchtrain::metrics
