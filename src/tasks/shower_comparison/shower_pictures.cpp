// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/sum.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

#include "shower_plots.hpp"

namespace bunchtrain::shower_comparison {
namespace {

using metrics::ShowerBinResult;
using metrics::ShowerComparison;
using metrics::ShowerProjection;
using metrics::ShowerSummary;
using plot::HeatMap;
using report::PictureRow;

/// Pictures show four decades: what is fainter would only make everything else look alike.
constexpr double kFaintest = 1e-4;
constexpr int kMostExamples = 8;

/// [A, Z] of an image [X, Y, Z], summed over the other transverse axis.
ShowerProjection project(const at::Tensor& image, std::int64_t summed_axis) {
  const at::Tensor flat = at::sum(image, summed_axis).to(at::kDouble).contiguous();
  const double* value = flat.const_data_ptr<double>();
  ShowerProjection projection;
  for (std::int64_t row = 0; row < flat.size(0); ++row) {
    projection.emplace_back(value, value + flat.size(1));
    value += flat.size(1);
  }
  return projection;
}

double largest(const ShowerProjection& projection) {
  double most = 0;
  for (const auto& row : projection) most = std::max(most, *std::max_element(row.begin(), row.end()));
  return most;
}

/// Reference and candidate of one view, with the same colours.
void add_views(PictureRow& row, const ShowerComparison& comparison, const ShowerProjection& reference,
               const ShowerProjection& candidate, std::size_t axis) {
  const double most = std::max(largest(reference), largest(candidate));
  const auto& labels = comparison.reference.geometry.labels;
  const auto add = [&](const std::string& name, const ShowerProjection& values) {
    row.pictures.push_back({.title = name,
                            .x_label = labels[2],
                            .y_label = labels[axis],
                            .values = values,
                            .scale = plot::Scale::log});
    if (most > 0) {
      row.pictures.back().min = kFaintest * most;
      row.pictures.back().max = most;
    }
  };
  add("reference", reference);
  add("candidate", candidate);
}

std::optional<double> theta_of(const ShowerSummary& sample, std::int64_t example) {
  if (!sample.example_theta.defined()) return std::nullopt;
  return sample.example_theta.const_data_ptr<double>()[example] * 180 / std::numbers::pi;
}

double energy_of(const ShowerSummary& sample, std::int64_t example) {
  return sample.example_energy.const_data_ptr<double>()[example];
}

/// The candidate's example that is nearest in energy and angle.
std::int64_t nearest(const ShowerSummary& candidate, double energy, std::optional<double> theta) {
  std::int64_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i < candidate.example_energy.numel(); ++i) {
    const auto angle = theta_of(candidate, i);
    const double turned = theta && angle ? (*angle - *theta) / 10 : 0;
    const double distance = std::hypot(energy_of(candidate, i) / energy - 1, turned);
    if (distance < least) {
      least = distance;
      best = i;
    }
  }
  return best;
}

std::string describe(const ShowerSummary& sample, std::int64_t example) {
  const auto theta = theta_of(sample, example);
  const std::string energy = fmt::format("{:.1f} GeV", energy_of(sample, example));
  return theta ? fmt::format("{}, {:.0f} deg", energy, *theta) : energy;
}

}  // namespace

std::vector<PictureRow> make_example_pictures(const ShowerComparison& comparison) {
  const ShowerSummary& reference = comparison.reference;
  const ShowerSummary& candidate = comparison.candidate;
  if (!reference.examples.defined() || !candidate.examples.defined()) return {};
  std::vector<PictureRow> rows;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(kMostExamples, reference.examples.size(0)); ++i) {
    const std::int64_t other = nearest(candidate, energy_of(reference, i), theta_of(reference, i));
    PictureRow row{.caption = fmt::format("Single showers: reference {}, candidate {}",
                                          describe(reference, i), describe(candidate, other))};
    const at::Tensor here = reference.examples.select(0, i), there = candidate.examples.select(0, other);
    add_views(row, comparison, project(here, 1), project(there, 1), 0);
    add_views(row, comparison, project(here, 0), project(there, 0), 1);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<PictureRow> make_mean_pictures(const ShowerComparison& comparison) {
  std::vector<PictureRow> rows;
  for (std::size_t i = 0; i < comparison.reference.bins.size(); ++i) {
    const ShowerBinResult& reference = comparison.reference.bins[i];
    const ShowerBinResult& candidate = comparison.candidate.bins[i];
    const bool is_energy_bin = reference.energy_bin >= 0 && reference.theta_bin < 0;
    if (!is_energy_bin || reference.showers == 0 || reference.side_view.empty()) continue;
    PictureRow row{.caption = fmt::format("Mean of {} and {} showers, {}", reference.showers,
                                          candidate.showers, reference.label)};
    add_views(row, comparison, reference.side_view, candidate.side_view, 0);
    add_views(row, comparison, reference.top_view, candidate.top_view, 1);
    rows.push_back(std::move(row));
  }
  return rows;
}

PictureRow make_correlation_pictures(const ShowerComparison& comparison) {
  PictureRow row{.caption = "Pearson correlations over all showers: reference, candidate, difference"};
  const auto add = [&](std::string title, const std::vector<std::vector<double>>& values) {
    const auto& names = comparison.reference.correlated;
    row.pictures.push_back({.title = std::move(title),
                            .values = values,
                            .min = -1,
                            .max = 1,
                            .diverging = true,
                            .row_names = names,
                            .column_names = names,
                            .print_values = true,
                            .width = 440,
                            .height = 400});
  };
  auto difference = comparison.candidate.correlation;
  for (std::size_t a = 0; a < difference.size(); ++a) {
    for (std::size_t b = 0; b < difference.size(); ++b)
      difference[a][b] -= comparison.reference.correlation[a][b];
  }
  add("reference", comparison.reference.correlation);
  add("candidate", comparison.candidate.correlation);
  add("candidate - reference", difference);
  return row;
}

}  // namespace bunchtrain::shower_comparison
