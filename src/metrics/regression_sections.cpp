// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cmath>
#include <numbers>
#include <numeric>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/metrics/result_sections.hpp"
#include "section_parts.hpp"

namespace bunchtrain::metrics {
namespace {

/// What quantities are called, with their units.
struct Labels {
  std::string target;    ///< "energy [GeV]"
  std::string residual;  ///< "(estimate - energy) / energy", "estimate - energy [GeV]"
  std::string unit;      ///< " [GeV]" of residuals; empty for pure numbers

  explicit Labels(const RegressionWords& words) {
    const std::string in_unit = words.unit.empty() ? "" : " [" + words.unit + "]";
    target = words.target + in_unit;
    unit = words.relative ? "" : in_unit;
    residual = words.relative ? fmt::format("(estimate - {0}) / {0}", words.target)
                              : fmt::format("estimate - {}{}", words.target, unit);
  }
};

report::Section summary_section(const RegressionResult& result, const Labels& labels,
                                const RegressionWords& words, const ResultOrigin& origin) {
  const RegressionSummary& all = result.summary;
  report::Section section{.title = "Regression"};
  section.paragraphs = {fmt::format("On {}, {} {}. Residuals are {}.", origin.data,
                                    format_integer(all.samples), origin.samples, labels.residual)};
  section.table.header = {words.target, "Value" + labels.unit};
  section.table.rows = {{"Bias (mean residual)", to_string(all.bias)},
                        {"Resolution: half the central 68 %", to_string(all.half_width_68)},
                        {"Resolution: standard deviation", to_string(all.deviation)},
                        {"Mean absolute error", to_string(all.absolute_error)},
                        {"Mean squared error", to_string(all.squared_error)}};
  if (!std::isnan(all.pull_mean.value)) {
    section.table.rows.push_back({"Mean of pulls", to_string(all.pull_mean)});
    section.table.rows.push_back({"Width of pulls", to_string(all.pull_width)});
  }
  section.numbers = {{"Resolution of " + words.target, to_string(all.half_width_68)},
                     {"Bias of " + words.target, to_string(all.bias)}};
  return section;
}

plot::Plot histogram_plot(const RegressionHistogram& histogram, std::string title, std::string label,
                          const std::string& samples) {
  plot::Plot plot{
      .title = std::move(title), .x = {.label = std::move(label)}, .y = {.label = "Number of " + samples}};
  plot.series = {{.mark = plot::Mark::steps, .x = histogram.edges, .y = histogram.counts, .filled = true}};
  if (histogram.below + histogram.above > 0)
    plot.caption = fmt::format("Beyond the picture: {} below, {} above.", format_integer(histogram.below),
                               format_integer(histogram.above));
  return plot;
}

/// The curve that pulls follow if widths are right.
plot::Series standard_gaussian(const RegressionHistogram& pulls) {
  plot::Series series{.label = "standard Gaussian", .color = 1};
  const double all = std::accumulate(pulls.counts.begin(), pulls.counts.end(), 0.0) +
                     static_cast<double>(pulls.below + pulls.above);
  const double width = pulls.edges[1] - pulls.edges[0];
  constexpr int kPoints = 121;
  for (int i = 0; i < kPoints; ++i) {
    const double x = pulls.edges.front() + (pulls.edges.back() - pulls.edges.front()) * i / (kPoints - 1);
    series.x.push_back(x);
    series.y.push_back(all * width * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi));
  }
  return series;
}

struct BinPlots {
  plot::Plot bias, resolution;
};

BinPlots plots_against_target(const RegressionResult& result, const Labels& labels) {
  BinPlots plots{
      .bias = {.title = "Bias", .x = {.label = labels.target}, .y = {.label = "Bias" + labels.unit}},
      .resolution = {.title = "Resolution",
                     .x = {.label = labels.target},
                     .y = {.label = "Resolution" + labels.unit, .min = 0}}};
  plot::Series bias{.mark = plot::Mark::points},
      core{.label = "half the central 68 %", .mark = plot::Mark::points, .color = 0},
      deviation{.label = "standard deviation", .mark = plot::Mark::points, .color = 1};
  for (const RegressionBin& bin : result.bins) {
    const double centre = (bin.low + bin.high) / 2;
    detail::add_point(bias, centre, bin.summary.bias);
    detail::add_point(core, centre, bin.summary.half_width_68);
    detail::add_point(deviation, centre, bin.summary.deviation);
  }
  const plot::Series none{
      .x = {result.bins.front().low, result.bins.back().high}, .y = {0, 0}, .color = 6, .dashed = true};
  plots.bias.series = {none, std::move(bias)};
  plots.resolution.series = {std::move(core), std::move(deviation)};
  return plots;
}

report::Section bins_section(const RegressionResult& result, const Labels& labels,
                             const RegressionWords& words) {
  report::Section section{.title = "Bias and resolution against " + words.target};
  section.table.header = {labels.target, "Samples", "Bias", "Half of 68 %", "Deviation"};
  for (const RegressionBin& bin : result.bins)
    section.table.rows.push_back({fmt::format("{:.4g} to {:.4g}", bin.low, bin.high),
                                  format_integer(bin.summary.samples), to_string(bin.summary.bias),
                                  to_string(bin.summary.half_width_68), to_string(bin.summary.deviation)});
  BinPlots plots = plots_against_target(result, labels);
  section.plots = {std::move(plots.bias), std::move(plots.resolution)};
  return section;
}

}  // namespace

std::vector<report::Section> make_sections(const RegressionResult& result, const RegressionWords& words,
                                           const ResultOrigin& origin) {
  const Labels labels(words);
  std::vector<report::Section> sections = {summary_section(result, labels, words, origin)};
  report::Section& summary = sections.front();
  if (!result.residuals.edges.empty())
    summary.plots.push_back(histogram_plot(result.residuals, "Residuals", labels.residual, origin.samples));
  if (!result.pulls.edges.empty()) {
    plot::Plot pulls = histogram_plot(result.pulls, "Pulls", "residual / width", origin.samples);
    pulls.series.front().label = "pulls";
    pulls.series.push_back(standard_gaussian(result.pulls));
    summary.plots.push_back(std::move(pulls));
  }
  if (!result.bins.empty()) sections.push_back(bins_section(result, labels, words));
  return sections;
}

}  // namespace bunchtrain::metrics
