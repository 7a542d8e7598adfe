// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/metrics/result_sections.hpp"
#include "section_parts.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr double kFewestPassing = 3;  ///< below so many background samples a rejection says nothing

std::string percent(double fraction) { return fmt::format("{:g} %", std::round(1000 * fraction) / 10); }

std::string fixed(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

/// A result with what its parts are called.
class Names {
 public:
  explicit Names(const ClassificationResult& result) : result_(result) {}

  const std::string& of(int number) const { return result_.classes[static_cast<std::size_t>(number)]; }
  const std::string& signal(const SignalResult& curve) const { return of(curve.signal); }
  bool two_classes() const { return result_.classes.size() == 2; }
  /// Against a class, of two also where it is all the others.
  std::string background(const SignalResult& curve) const {
    if (curve.background >= 0) return of(curve.background);
    return two_classes() ? of(1 - curve.signal) : "all others";
  }
  std::string title(const SignalResult& curve) const { return signal(curve) + " vs. " + background(curve); }

 private:
  const ClassificationResult& result_;
};

/// How many background samples a curve stands on.
double count_background(const ClassificationResult& result, const SignalResult& curve) {
  double count = 0;
  for (std::size_t c = 0; c < result.class_counts.size(); ++c) {
    const int number = static_cast<int>(c);
    const bool is_background = curve.background < 0 ? number != curve.signal : number == curve.background;
    if (is_background) count += static_cast<double>(result.class_counts[c]);
  }
  return count;
}

std::vector<const SignalResult*> curves_against_rest(const ClassificationResult& result) {
  std::vector<const SignalResult*> curves;
  for (const SignalResult& curve : result.signals)
    if (curve.background < 0 && !std::isnan(curve.auc)) curves.push_back(&curve);
  return curves;
}

std::string rejection_label(double signal_efficiency) {
  return fmt::format("1/ε_B at ε_S = {}", percent(signal_efficiency));
}

report::SectionTable rejection_table(const ClassificationResult& result) {
  report::SectionTable table;
  const Names names(result);
  for (const SignalResult& signal : result.signals) {
    if (std::isnan(signal.auc)) continue;
    if (table.header.empty()) {
      table.header = {"Signal", "Background", "AUC"};
      for (const Rejection& one : signal.rejections) table.header.push_back(rejection_label(one.target));
    }
    std::vector<std::string> row = {names.signal(signal), names.background(signal), fixed(signal.auc, 5)};
    for (const Rejection& one : signal.rejections) row.push_back(to_string(one));
    table.rows.push_back(std::move(row));
  }
  return table;
}

report::Section results_section(const ClassificationResult& result, const ResultOrigin& origin) {
  std::string counts;
  for (std::size_t c = 0; c < std::min(result.classes.size(), result.class_counts.size()); ++c)
    counts += fmt::format("{}{} {}", c == 0 ? ": " : ", ", format_integer(result.class_counts[c]),
                          result.classes[c]);
  std::string intro =
      fmt::format("On {}, {} {}{}", origin.data, format_integer(result.samples), origin.samples, counts);
  if (std::isfinite(result.loss)) intro += fmt::format("; loss {:.5f}", result.loss);
  report::Section section{.title = "Results", .paragraphs = {intro + "."}};
  section.table = rejection_table(result);
  const Names names(result);
  section.numbers = {{names.two_classes() ? "AUC" : "Mean AUC", fixed(result.auc, 4)},
                     {"Accuracy", fixed(result.accuracy, 4)}};
  if (names.two_classes() && !section.table.rows.empty())
    for (const Rejection& one : result.signals.front().rejections)
      section.numbers.push_back({rejection_label(one.target), to_string(one)});
  return section;
}

plot::Plot roc_plot(const ClassificationResult& result) {
  plot::Plot plot{.title = "ROC curve",
                  .x = {.label = "Background efficiency ε_B", .min = 0, .max = 1},
                  .y = {.label = "Signal efficiency ε_S", .min = 0, .max = 1}};
  const auto curves = curves_against_rest(result);
  for (std::size_t i = 0; i < curves.size(); ++i) {
    plot::Series series{.label =
                            fmt::format("{}: AUC {:.4f}", Names(result).title(*curves[i]), curves[i]->auc)};
    for (const RocPoint& point : curves[i]->roc) {
      series.x.push_back(point.background_efficiency);
      series.y.push_back(point.signal_efficiency);
    }
    detail::set_color(series, i);
    plot.series.push_back(std::move(series));
  }
  plot.series.push_back({.label = "guessing", .x = {0, 1}, .y = {0, 1}, .color = 6, .dashed = true});
  return plot;
}

void add_rejection(plot::Plot& plot, const ClassificationResult& result, const SignalResult& curve,
                   const std::string& label, std::size_t index) {
  const double background = count_background(result, curve);
  plot::Series line{.label = label}, band{.mark = plot::Mark::band}, points{.mark = plot::Mark::points};
  for (const RocPoint& point : curve.roc) {
    const double mistag = point.background_efficiency, passing = mistag * background;
    if (!(mistag > 0) || (background > 0 && passing < kFewestPassing)) continue;
    line.x.push_back(point.signal_efficiency);
    line.y.push_back(1 / mistag);
    if (background > 0) band.error.push_back(std::sqrt((1 - mistag) / passing) / mistag);
  }
  band.x = line.x;
  band.y = line.y;
  for (const Rejection& one : curve.rejections) {
    if (one.is_lower_limit || !(one.value > 0)) continue;
    points.x.push_back(one.target);
    points.y.push_back(one.value);
    points.error.push_back(one.error);
  }
  for (plot::Series* series : {&line, &band, &points}) detail::set_color(*series, index);
  band.dashed = points.dashed = false;
  if (background > 0) plot.series.push_back(std::move(band));
  plot.series.push_back(std::move(line));
  plot.series.push_back(std::move(points));
}

plot::Plot make_rejection_plot(std::string title) {
  return {.title = std::move(title),
          .x = {.label = "Signal efficiency ε_S", .min = 0, .max = 1},
          .y = {.label = "Background rejection 1/ε_B", .scale = plot::Scale::log, .min = 1}};
}

/// Of all signals against the rest in one plot; of more than two classes also each against each.
std::vector<plot::Plot> rejection_plots(const ClassificationResult& result) {
  const Names names(result);
  const auto rest = curves_against_rest(result);
  std::vector<plot::Plot> plots = {make_rejection_plot("Background rejection")};
  plots.front().caption =
      fmt::format("Bands and bars: binomial errors. Drawn where at least {:.0f} background samples pass.",
                  kFewestPassing);
  for (std::size_t i = 0; i < rest.size(); ++i)
    add_rejection(plots.front(), result, *rest[i], names.title(*rest[i]), i);
  if (names.two_classes()) return plots;
  for (std::size_t c = 0; c < result.classes.size(); ++c) {
    plot::Plot plot = make_rejection_plot("Rejection: signal " + result.classes[c]);
    for (const SignalResult& curve : result.signals) {
      if (curve.signal != static_cast<int>(c) || curve.background < 0 || std::isnan(curve.auc)) continue;
      add_rejection(plot, result, curve, "vs. " + names.background(curve),
                    static_cast<std::size_t>(curve.background));
    }
    if (!plot.series.empty()) plots.push_back(std::move(plot));
  }
  return plots;
}

plot::Plot score_plot(const ClassificationResult& result, const ScoreDistribution& distribution,
                      const std::string& samples) {
  const std::size_t bins = distribution.counts.empty() ? 0 : distribution.counts.front().size();
  const double width = bins > 0 ? 1.0 / static_cast<double>(bins) : 1.0;
  const std::string& score = Names(result).of(distribution.score);
  plot::Plot plot{
      .title = "Score of " + score,
      .x = {.label = "Score of class " + score, .min = 0, .max = 1},
      .y = {.label = fmt::format("Fraction of {} / {:g}", samples, width), .scale = plot::Scale::log}};
  for (std::size_t c = 0; c < distribution.counts.size(); ++c) {
    const std::vector<double>& counts = distribution.counts[c];
    const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
    if (!(total > 0)) continue;
    plot::Series series{.label = "true " + result.classes[c], .mark = plot::Mark::steps};
    for (std::size_t bin = 0; bin <= counts.size(); ++bin)
      series.x.push_back(width * static_cast<double>(bin));
    for (const double count : counts) series.y.push_back(count / total);
    detail::set_color(series, c);
    series.filled = distribution.counts.size() <= 2;
    plot.series.push_back(std::move(series));
  }
  return plot;
}

report::Section performance_section(const ClassificationResult& result, const ResultOrigin& origin) {
  report::Section section{.title = "Performance"};
  if (!curves_against_rest(result).empty()) {
    section.plots = rejection_plots(result);
    section.plots.insert(section.plots.begin(), roc_plot(result));
  }
  for (const ScoreDistribution& distribution : result.distributions) {
    plot::Plot plot = score_plot(result, distribution, origin.samples);
    if (!plot.series.empty()) section.plots.push_back(std::move(plot));
  }
  return section;
}

report::Section confusion_section(const ClassificationResult& result, const ResultOrigin& origin) {
  report::Section section{.title = "Confusion matrix",
                          .paragraphs = {"Each class's " + origin.samples +
                                         " by the class of their largest score, with binomial errors."}};
  section.table.header = {"True class"};
  plot::HeatMap map{.x_label = "Predicted class",
                    .y_label = "True class",
                    .min = 0,
                    .max = 1,
                    .row_names = result.classes,
                    .column_names = result.classes,
                    .print_values = true};
  for (const std::string& name : result.classes) section.table.header.push_back("taken for " + name);
  for (std::size_t truth = 0; truth < result.classes.size(); ++truth) {
    std::vector<std::string> cells = {result.classes[truth]};
    std::vector<double> shares;
    for (const Estimate& fraction : result.confusion.fractions[truth]) {
      cells.push_back(to_percent(fraction));
      shares.push_back(std::round(1000 * fraction.value) / 1000);
    }
    section.table.rows.push_back(std::move(cells));
    map.values.push_back(std::move(shares));
  }
  section.pictures = {{.caption = "Fraction of the true class", .pictures = {std::move(map)}}};
  return section;
}

report::Section calibration_section(const ClassificationResult& result) {
  report::Section section{.title = "Calibration",
                          .paragraphs = {"A score is a probability where the points lie on the diagonal."}};
  section.table.header = {"Score", "Expected calibration error"};
  plot::Plot plot{.title = "Reliability",
                  .x = {.label = "Mean score of the bin", .min = 0, .max = 1},
                  .y = {.label = "Fraction that is of the class", .min = 0, .max = 1}};
  plot.series.push_back({.label = "calibrated", .x = {0, 1}, .y = {0, 1}, .color = 6, .dashed = true});
  for (std::size_t i = 0; i < result.calibrations.size(); ++i) {
    const Calibration& calibration = result.calibrations[i];
    const std::string name = calibration.score < 0 ? "largest score" : Names(result).of(calibration.score);
    plot::Series series{.label = name, .mark = plot::Mark::points};
    for (const CalibrationBin& bin : calibration.bins) {
      series.x.push_back(bin.score);
      series.y.push_back(bin.fraction.value);
      series.error.push_back(bin.fraction.error);
    }
    detail::set_color(series, i);
    plot.series.push_back(std::move(series));
    section.table.rows.push_back({name, to_string(calibration.expected_error)});
  }
  section.plots.push_back(std::move(plot));
  return section;
}

}  // namespace

std::vector<report::Section> make_sections(const ClassificationResult& result, const ResultOrigin& origin) {
  std::vector<report::Section> sections = {results_section(result, origin)};
  report::Section performance = performance_section(result, origin);
  if (!performance.plots.empty()) sections.push_back(std::move(performance));
  if (result.samples == 0) return sections;
  if (!result.confusion.fractions.empty()) sections.push_back(confusion_section(result, origin));
  if (!result.calibrations.empty()) sections.push_back(calibration_section(result));
  return sections;
}

report::Section make_section(const EfficiencyCurve& curve, const std::string& signal,
                             const std::string& quantity) {
  report::Section section{.title = fmt::format("Efficiency for {} against {}", signal, quantity)};
  if (curve.bins.empty()) {
    section.paragraphs = {"Not drawn: it needs samples of both sides, with more than one value of " +
                          quantity + "."};
    return section;
  }
  section.paragraphs = {fmt::format(
      "Score of {} of at least {:.6g}: {} of signal and {} of background pass.{}", signal, curve.threshold,
      to_percent(curve.signal), to_percent(curve.background),
      curve.left_out > 0 ? fmt::format(" Left out: {} without a finite {}.", curve.left_out, quantity) : "")};
  section.table.header = {quantity, "Signal", "passes", "Background", "passes"};
  plot::Plot plot{.x = {.label = quantity}, .y = {.label = "Efficiency", .min = 0}};
  plot::Series passing{.label = "signal", .mark = plot::Mark::points, .color = 0},
      mistagged{.label = "background", .mark = plot::Mark::points, .color = 1};
  for (const EfficiencyBin& bin : curve.bins) {
    section.table.rows.push_back({fmt::format("{:.4g} to {:.4g}", bin.low, bin.high),
                                  format_integer(bin.num_signal), to_percent(bin.signal),
                                  format_integer(bin.num_background), to_percent(bin.background)});
    detail::add_point(passing, (bin.low + bin.high) / 2, bin.signal);
    detail::add_point(mistagged, (bin.low + bin.high) / 2, bin.background);
  }
  plot.series = {std::move(passing), std::move(mistagged)};
  section.plots = {plot};
  section.plots.front().title = "Efficiency";
  plot.title = "Efficiency, logarithmic";
  plot.y = {.label = "Efficiency", .scale = plot::Scale::log};
  section.plots.push_back(std::move(plot));
  return section;
}

}  // namespace bunchtrain::metrics
