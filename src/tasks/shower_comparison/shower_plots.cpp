// SPDX-License-Identifier: Apache-2.0
#include "shower_plots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace bunchtrain::shower_comparison {
namespace {

using metrics::ShowerBinResult;
using metrics::ShowerComparison;
using metrics::ShowerHistogram;
using plot::Axis;
using plot::Mark;
using plot::Plot;
using plot::Scale;
using plot::Series;

constexpr std::array<const char*, 3> kAxes = {"x", "y", "z"};
/// More energy bins than that in one plot cannot be told apart.
constexpr std::size_t kMostBins = 4;
/// Ratios of emptier bins than this part of the fullest one are noise.
constexpr double kSmallestShare = 0.01;

/// The same bin on both sides.
struct BinPair {
  const ShowerBinResult* reference;
  const ShowerBinResult* candidate;
};

BinPair everything(const ShowerComparison& comparison) {
  return {&comparison.reference.bins.front(), &comparison.candidate.bins.front()};
}

/// Energy bins that the reference fills; at most `kMostBins` of them, spread evenly.
std::vector<BinPair> energy_bins(const ShowerComparison& comparison, std::size_t most = kMostBins) {
  const auto reference = comparison.reference.energy_bins(), candidate = comparison.candidate.energy_bins();
  std::vector<BinPair> filled, chosen;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    if (reference[i]->showers > 0) filled.push_back({reference[i], candidate[i]});
  }
  const std::size_t wanted = std::min(most, filled.size());
  for (std::size_t i = 0; i < wanted; ++i) chosen.push_back(filled[i * filled.size() / wanted]);
  return chosen;
}

std::vector<double> middles(const std::vector<double>& edges) {
  std::vector<double> middles;
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) middles.push_back((edges[i] + edges[i + 1]) / 2);
  return middles;
}

Series points(const ShowerHistogram& histogram, int color, std::string label) {
  return {.label = std::move(label),
          .mark = Mark::points,
          .x = middles(histogram.edges),
          .y = histogram.contents,
          .error = histogram.errors,
          .color = color};
}

Series steps(const ShowerHistogram& histogram, int color, std::string label) {
  return {.label = std::move(label),
          .mark = Mark::steps,
          .x = histogram.edges,
          .y = histogram.contents,
          .color = color};
}

/// One histogram of both samples, each in its colour.
void add_both(Plot& plot, const ShowerComparison& comparison, const ShowerHistogram& reference,
              const ShowerHistogram& candidate) {
  plot.series.push_back(steps(candidate, kCandidateColor, comparison.candidate.name));
  plot.series.push_back(points(reference, kReferenceColor, comparison.reference.name));
}

/// One histogram per energy bin, each bin in its colour.
void add_bins(Plot& plot, const ShowerComparison& comparison, ShowerHistogram ShowerBinResult::*histogram) {
  int color = 0;
  for (const BinPair& bin : energy_bins(comparison)) {
    plot.series.push_back(steps(bin.candidate->*histogram, color, {}));
    plot.series.push_back(points(bin.reference->*histogram, color++, bin.reference->label));
  }
}

double greatest(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

/// Candidate over reference with the error of the ratio.
Series ratio(const ShowerHistogram& reference, const ShowerHistogram& candidate, int color,
             std::string label) {
  Series series{.label = std::move(label), .mark = Mark::points, .color = color};
  const double least = kSmallestShare * greatest(reference.contents);
  const std::vector<double> x = middles(reference.edges);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = reference.contents[i], found = candidate.contents[i];
    if (!(expected > least)) continue;
    series.x.push_back(x[i]);
    series.y.push_back(found / expected);
    series.error.push_back(std::hypot(candidate.errors[i], found / expected * reference.errors[i]) /
                           expected);
  }
  return series;
}

Series line_at_one(double from, double to) {
  return {.mark = Mark::line, .x = {from, to}, .y = {1, 1}, .color = 6, .dashed = true};
}

Plot profile_plot(const ShowerComparison& comparison, std::size_t axis, Scale scale) {
  Plot plot{
      .title = fmt::format("Profile along {}{}", kAxes[axis], scale == Scale::log ? ", logarithmic" : ""),
      .x = {.label = comparison.reference.geometry.labels[axis]},
      .y = {.label = "Energy per shower [GeV]", .scale = scale}};
  if (scale == Scale::linear) plot.y.min = 0;
  int color = 0;
  for (const BinPair& bin : energy_bins(comparison)) {
    plot.series.push_back(steps(bin.candidate->profile[axis], color, {}));
    plot.series.push_back(points(bin.reference->profile[axis], color++, bin.reference->label));
  }
  return plot;
}

Plot profile_ratio_plot(const ShowerComparison& comparison, std::size_t axis) {
  const auto& edges = comparison.reference.geometry.edges[axis];
  Plot plot{
      .title = fmt::format("Profile along {}, candidate over reference", kAxes[axis]),
      .x = {.label = comparison.reference.geometry.labels[axis], .min = edges.front(), .max = edges.back()},
      .y = {.label = "Candidate / reference", .min = 0.5, .max = 1.5},
      .height = 280};
  plot.series.push_back(line_at_one(edges.front(), edges.back()));
  int color = 0;
  for (const BinPair& bin : energy_bins(comparison)) {
    plot.series.push_back(
        ratio(bin.reference->profile[axis], bin.candidate->profile[axis], color++, bin.reference->label));
  }
  return plot;
}

Plot fraction_against_energy(const ShowerComparison& comparison) {
  Plot plot{.title = "Sampling fraction against energy",
            .x = {.label = "Primary energy [GeV]"},
            .y = {.label = "Cell sum / primary energy"}};
  Series reference{.label = comparison.reference.name, .mark = Mark::points, .color = kReferenceColor};
  Series candidate{.label = comparison.candidate.name, .mark = Mark::points, .color = kCandidateColor};
  const auto add = [](Series& series, const ShowerBinResult& bin) {
    series.x.push_back(bin.energy.value);
    series.y.push_back(bin.fraction.value);
    series.error.push_back(bin.fraction.error);
  };
  for (const BinPair& bin : energy_bins(comparison, comparison.reference.bins.size())) {
    add(reference, *bin.reference);
    add(candidate, *bin.candidate);
  }
  plot.series = {std::move(candidate), std::move(reference)};
  return plot;
}

ShowerHistogram in_degrees(ShowerHistogram histogram) {
  for (double& edge : histogram.edges) edge *= 180 / std::numbers::pi;
  return histogram;
}

}  // namespace

std::vector<Plot> make_profile_plots(const ShowerComparison& comparison) {
  std::vector<Plot> plots;
  for (const std::size_t axis : {std::size_t{2}, std::size_t{0}, std::size_t{1}}) {
    plots.push_back(profile_plot(comparison, axis, Scale::linear));
    plots.push_back(profile_plot(comparison, axis, Scale::log));
  }
  for (const std::size_t axis : {std::size_t{2}, std::size_t{0}, std::size_t{1}})
    plots.push_back(profile_ratio_plot(comparison, axis));
  return plots;
}

std::vector<Plot> make_fraction_plots(const ShowerComparison& comparison) {
  std::vector<Plot> plots = {fraction_against_energy(comparison)};
  for (const BinPair& bin : energy_bins(comparison)) {
    Plot& plot = plots.emplace_back(Plot{.title = fmt::format("Sampling fraction, {}", bin.reference->label),
                                         .x = {.label = "Cell sum / primary energy"},
                                         .y = {.label = "Fraction of showers", .min = 0}});
    add_both(plot, comparison, bin.reference->fraction_histogram, bin.candidate->fraction_histogram);
  }
  return plots;
}

std::vector<Plot> make_cell_plots(const ShowerComparison& comparison) {
  const BinPair all = everything(comparison);
  Plot plot{.title = "Cell energies",
            .x = {.label = "Cell energy [GeV]", .scale = Scale::log},
            .y = {.label = "Cells per shower", .scale = Scale::log}};
  add_both(plot, comparison, all.reference->cell_spectrum, all.candidate->cell_spectrum);
  Plot ratios{.title = "Cell energies, candidate over reference",
              .x = plot.x,
              .y = {.label = "Candidate / reference", .min = 0.5, .max = 1.5}};
  const auto& edges = all.reference->cell_spectrum.edges;
  ratios.series = {line_at_one(edges.front(), edges.back()),
                   ratio(all.reference->cell_spectrum, all.candidate->cell_spectrum, kCandidateColor, {})};
  return {std::move(plot), std::move(ratios)};
}

std::vector<Plot> make_hit_plots(const ShowerComparison& comparison) {
  Plot plot{
      .title = "Hit multiplicity",
      .x = {.label = fmt::format("Cells above {:g} MeV", comparison.reference.binning.hit_threshold * 1e3)},
      .y = {.label = "Fraction of showers per bin", .min = 0}};
  add_bins(plot, comparison, &ShowerBinResult::hit_histogram);
  return {std::move(plot)};
}

std::vector<Plot> make_theta_plots(const ShowerComparison& comparison) {
  if (!comparison.reference.has_theta) return {};
  std::vector<Plot> plots;
  const auto add = [&](const ShowerBinResult& reference, const ShowerBinResult& candidate) {
    Plot& plot = plots.emplace_back(Plot{.title = fmt::format("Measured angle, {}", reference.label),
                                         .x = {.label = "Measured theta [deg]"},
                                         .y = {.label = "Fraction of showers", .min = 0}});
    add_both(plot, comparison, in_degrees(reference.theta_histogram), in_degrees(candidate.theta_histogram));
  };
  const BinPair all = everything(comparison);
  add(*all.reference, *all.candidate);
  // The angle bins of the middle energy bin stand for all: the resolution hardly depends on energy.
  const auto energies = energy_bins(comparison, comparison.reference.bins.size());
  if (energies.empty()) return plots;
  const std::int64_t middle = energies[energies.size() / 2].reference->energy_bin;
  const auto reference = comparison.reference.angle_bins(middle),
             candidate = comparison.candidate.angle_bins(middle);
  for (std::size_t i = 0; i < reference.size(); ++i) {
    if (reference[i]->showers > 0) add(*reference[i], *candidate[i]);
  }
  return plots;
}

}  // namespace bunchtrain::shower_comparison
