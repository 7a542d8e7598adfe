// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>

#include "report_plots.hpp"

namespace bunchtrain::report {
namespace {

constexpr std::string_view kRest = "rest";
constexpr double kFewestPassing = 3;  ///< below so many background samples a rejection says nothing

std::vector<const RocCurve*> curves_against_rest(const Evaluation& evaluation) {
  std::vector<const RocCurve*> result;
  for (const RocCurve& curve : evaluation.roc_curves) {
    if (curve.background == kRest || evaluation.classes.size() <= 2) result.push_back(&curve);
  }
  return result;
}

std::string title_of(const RocCurve& curve) {
  return curve.background == kRest ? curve.signal + " vs. all others"
                                   : curve.signal + " vs. " + curve.background;
}

// How many background samples a curve stands on; 0 if the evaluation does not say.
double count_background(const Evaluation& evaluation, const RocCurve& curve) {
  double count = 0;
  for (std::size_t c = 0; c < std::min(evaluation.classes.size(), evaluation.class_counts.size()); ++c) {
    const std::string& name = evaluation.classes[c];
    const bool is_background = curve.background == kRest ? name != curve.signal : name == curve.background;
    if (is_background) count += static_cast<double>(evaluation.class_counts[c]);
  }
  return count;
}

// The same colour comes back dashed after a round through the palette.
void set_color(plot::Series& series, std::size_t index) {
  series.color = static_cast<int>(index % plot::kPaletteSize);
  series.dashed = index >= plot::kPaletteSize;
}

void add_rejection(plot::Plot& plot, const Evaluation& evaluation, const RocCurve& curve,
                   const std::string& label, std::size_t index) {
  const double background = count_background(evaluation, curve);
  plot::Series line{.label = label}, band{.mark = plot::Mark::band}, points{.mark = plot::Mark::points};
  for (std::size_t i = 0; i < curve.signal_efficiency.size(); ++i) {
    const double mistag = curve.background_efficiency[i], passing = mistag * background;
    if (!(mistag > 0) || (background > 0 && passing < kFewestPassing)) continue;
    line.x.push_back(curve.signal_efficiency[i]);
    line.y.push_back(1 / mistag);
    if (background > 0) band.error.push_back(std::sqrt((1 - mistag) / passing) / mistag);
  }
  band.x = line.x;
  band.y = line.y;
  for (const RejectionPoint& point : curve.rejections) {
    if (point.is_lower_limit || !(point.rejection > 0)) continue;
    points.x.push_back(point.signal_efficiency);
    points.y.push_back(point.rejection);
    points.error.push_back(point.error);
  }
  for (plot::Series* series : {&line, &band, &points}) set_color(*series, index);
  band.dashed = points.dashed = false;
  if (background > 0) plot.series.push_back(std::move(band));
  plot.series.push_back(std::move(line));
  plot.series.push_back(std::move(points));
}

plot::Plot make_rejection_plot() {
  return {.x = {.label = "Signal efficiency ε_S", .min = 0, .max = 1},
          .y = {.label = "Background rejection 1/ε_B", .scale = plot::Scale::log, .min = 1}};
}

}  // namespace

Figure make_roc_figure(const Evaluation& evaluation) {
  plot::Plot plot{.x = {.label = "Background efficiency ε_B", .min = 0, .max = 1},
                  .y = {.label = "Signal efficiency ε_S", .min = 0, .max = 1}};
  const auto curves = curves_against_rest(evaluation);
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const RocCurve& curve = *curves[i];
    plot::Series series{.label = fmt::format("{}: AUC {:.4f}", title_of(curve), curve.auc),
                        .x = curve.background_efficiency,
                        .y = curve.signal_efficiency};
    set_color(series, i);
    plot.series.push_back(std::move(series));
  }
  if (!plot.series.empty())
    plot.series.push_back({.label = "guessing", .x = {0, 1}, .y = {0, 1}, .color = 6, .dashed = true});
  return {.plot = std::move(plot), .heading = "ROC curve"};
}

std::vector<Figure> make_rejection_figures(const Evaluation& evaluation) {
  std::vector<Figure> figures;
  const auto rest = curves_against_rest(evaluation);
  if (!rest.empty()) {
    Figure figure{.plot = make_rejection_plot(),
                  .heading = "Background rejection",
                  .caption = fmt::format(
                      "Bands and bars: binomial errors. Drawn where at least {:.0f} background samples pass.",
                      kFewestPassing)};
    for (std::size_t i = 0; i < rest.size(); ++i)
      add_rejection(figure.plot, evaluation, *rest[i], title_of(*rest[i]), i);
    figures.push_back(std::move(figure));
  }
  if (evaluation.classes.size() <= 2) return figures;
  for (std::size_t c = 0; c < evaluation.classes.size(); ++c) {
    Figure figure{.plot = make_rejection_plot(), .heading = "Rejection: signal " + evaluation.classes[c]};
    for (std::size_t b = 0; b < evaluation.classes.size(); ++b) {
      for (const RocCurve& curve : evaluation.roc_curves) {
        const bool wanted =
            curve.signal == evaluation.classes[c] && curve.background == evaluation.classes[b];
        if (wanted) add_rejection(figure.plot, evaluation, curve, "vs. " + curve.background, b);
      }
    }
    if (!figure.plot.series.empty()) figures.push_back(std::move(figure));
  }
  return figures;
}

std::vector<Figure> make_score_figures(const Evaluation& evaluation, const std::string& samples) {
  std::vector<Figure> figures;
  for (const ScoreHistogram& histogram : evaluation.histograms) {
    const std::size_t bins = histogram.counts.empty() ? 0 : histogram.counts.front().size();
    if (bins == 0) continue;
    const double width = 1.0 / static_cast<double>(bins);
    plot::Plot plot{
        .x = {.label = "Score of class " + histogram.score, .min = 0, .max = 1},
        .y = {.label = fmt::format("Fraction of {} / {:g}", samples, width), .scale = plot::Scale::log}};
    for (std::size_t c = 0; c < histogram.counts.size(); ++c) {
      const std::vector<double>& counts = histogram.counts[c];
      const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
      if (!(total > 0)) continue;
      plot::Series series{.label = "true " + histogram.classes[c], .mark = plot::Mark::steps};
      for (std::size_t bin = 0; bin <= counts.size(); ++bin)
        series.x.push_back(width * static_cast<double>(bin));
      for (double count : counts) series.y.push_back(count / total);
      set_color(series, c);
      series.filled = histogram.counts.size() <= 2;
      plot.series.push_back(std::move(series));
    }
    figures.push_back({.plot = std::move(plot), .heading = "Score of " + histogram.score});
  }
  return figures;
}

}  // namespace bunchtrain::report
