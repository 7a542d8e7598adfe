// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/evaluation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "bunchtrain/report/table.hpp"

namespace bunchtrain::train {
namespace {

std::string signal_of(const metrics::ClassificationResult& result, const metrics::SignalResult& signal) {
  return result.classes[static_cast<std::size_t>(signal.signal)];
}

/// A class, or "rest"; of two classes the other one.
std::string background_of(const metrics::ClassificationResult& result, const metrics::SignalResult& signal) {
  const bool two = result.classes.size() == 2;
  const int background = signal.background < 0 && two ? 1 - signal.signal : signal.background;
  return background < 0 ? "rest" : result.classes[static_cast<std::size_t>(background)];
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
    std::vector<std::string> row = {signal_of(result, signal), background_of(result, signal),
                                    fixed(signal.auc, 5)};
    for (const auto& rejection : signal.rejections)
      row.push_back(std::isnan(rejection.value) ? "-" : metrics::to_string(rejection));
    table.add_row(std::move(row));
  }
  return text + table.to_string(report::TableStyle::box, report::output_width());
}

}  // namespace bunchtrain::train
