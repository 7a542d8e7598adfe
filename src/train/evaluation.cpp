// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/evaluation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "bunchtrain/report/table.hpp"

namespace bunchtrain::train {
namespace {

report::RocCurve to_curve(const metrics::ClassificationResult& result, const metrics::SignalResult& signal) {
  report::RocCurve curve;
  curve.signal = result.classes[static_cast<std::size_t>(signal.signal)];
  const bool two = result.classes.size() == 2;
  const int background = signal.background < 0 && two ? 1 - signal.signal : signal.background;
  curve.background = background < 0 ? "rest" : result.classes[static_cast<std::size_t>(background)];
  curve.auc = signal.auc;
  for (const auto& point : signal.roc) {
    curve.signal_efficiency.push_back(point.signal_efficiency);
    curve.background_efficiency.push_back(point.background_efficiency);
  }
  for (const auto& rejection : signal.rejections)
    curve.rejections.push_back({.signal_efficiency = rejection.target,
                                .rejection = rejection.value,
                                .error = rejection.error,
                                .is_lower_limit = rejection.is_lower_limit});
  return curve;
}

std::string fixed(double value, int digits) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits);
}

/// Says why numbers are missing.
std::string missing_classes(const metrics::ClassificationResult& result) {
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < result.class_counts.size(); ++i)
    if (result.class_counts[i] == 0) missing.push_back("'" + result.classes[i] + "'");
  if (missing.empty()) return {};
  return fmt::format("none of them is {}: what needs such samples is left out\n", fmt::join(missing, " or "));
}

}  // namespace

metrics::ClassificationOptions classification_options(std::vector<std::string> classes,
                                                      std::string_view signal) {
  metrics::ClassificationOptions options{.classes = std::move(classes)};
  for (std::size_t i = 0; i < options.classes.size(); ++i)
    if (options.classes[i] == signal) options.signals = {static_cast<int>(i)};
  return options;
}

report::Evaluation to_evaluation(const metrics::ClassificationResult& result, std::string data) {
  report::Evaluation evaluation;
  evaluation.data = std::move(data);
  evaluation.samples = result.samples;
  evaluation.loss = result.loss;
  evaluation.accuracy = result.accuracy;
  evaluation.auc = result.auc;
  evaluation.classes = result.classes;
  evaluation.class_counts = result.class_counts;
  for (const auto& signal : result.signals)
    if (!std::isnan(signal.auc)) evaluation.roc_curves.push_back(to_curve(result, signal));
  for (const auto& distribution : result.distributions)
    evaluation.histograms.push_back({.score = result.classes[static_cast<std::size_t>(distribution.score)],
                                     .classes = result.classes,
                                     .counts = distribution.counts});
  return evaluation;
}

std::string format_results(const metrics::ClassificationResult& result) {
  std::string text = fmt::format("{} labelled samples: accuracy {}, AUC {}, loss {}\n", result.samples,
                                 fixed(result.accuracy, 4), fixed(result.auc, 5), fixed(result.loss, 4)) +
                     missing_classes(result);
  std::vector<std::string> header = {"signal", "background", "AUC"};
  if (result.signals.empty()) return text;
  for (const auto& rejection : result.signals.front().rejections)
    header.push_back(fmt::format("1/eB at {:.0f} %", 100 * rejection.target));
  report::Table table(header);
  for (const auto& signal : result.signals) {
    const report::RocCurve curve = to_curve(result, signal);
    std::vector<std::string> row = {curve.signal, curve.background, fixed(curve.auc, 5)};
    for (const auto& rejection : signal.rejections)
      row.push_back(std::isnan(rejection.value) ? "-" : metrics::to_string(rejection));
    table.add_row(std::move(row));
  }
  return text + table.to_string(report::TableStyle::box, report::output_width());
}

}  // namespace bunchtrain::train
