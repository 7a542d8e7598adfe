// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/comparison.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "loss_terms.hpp"
#include "report_plots.hpp"

namespace bunchtrain::report {
namespace {

using Runs = std::vector<ComparedRun>;
using ValueOfEpoch = std::function<double(const EpochRow&)>;

constexpr const char* kNone = "–";

/// Names in the order of their first appearance in any run.
class NameList {
 public:
  void add(const std::string& name) {
    if (std::ranges::find(names_, name) == names_.end()) names_.push_back(name);
  }
  const std::vector<std::string>& names() const noexcept { return names_; }

 private:
  std::vector<std::string> names_;
};

std::string value_or_none(const std::vector<KeyValue>& pairs, const std::string& key) {
  const auto found = std::ranges::find(pairs, key, &KeyValue::key);
  return found == pairs.end() ? kNone : found->value;
}

std::vector<KeyValue> final_numbers(const TrainingReport& report) {
  std::vector<KeyValue> numbers;
  for (const Section& section : report.sections)
    for (const SectionNumber& number : section.numbers) numbers.push_back({number.label, number.value});
  if (report.epochs.empty()) return numbers;
  const EpochRow& last = report.epochs.back();
  const auto add = [&](std::string key, double value) {
    if (std::isfinite(value)) numbers.push_back({std::move(key), fmt::format("{:.5g}", value)});
  };
  for (const NamedValue& metric : last.metrics) {
    const std::string heading = metric_heading(metric.name);
    const bool shown = std::ranges::any_of(numbers, [&](const KeyValue& number) {
      return number.key == heading || number.key == "Mean " + heading;
    });
    if (!shown) add(heading, metric.value);
  }
  for (const NamedValue& loss : last.losses) add(loss.name, loss.value);
  add("training loss", last.train_loss);
  add("validation loss", last.valid_loss);
  numbers.push_back({"epochs", std::to_string(last.epoch)});
  numbers.push_back({"steps", format_integer(last.step)});
  if (std::isfinite(last.samples_per_second))
    numbers.push_back({report.samples + "/s", format_count(last.samples_per_second)});
  double seconds = 0;
  for (const EpochRow& row : report.epochs) seconds += row.seconds;
  numbers.push_back({"time", format_duration(seconds)});
  return numbers;
}

/// A row per key, a column per run; `only_different` leaves out what is the same in all.
SectionTable side_by_side(const Runs& runs, const std::vector<std::vector<KeyValue>>& values,
                          bool only_different) {
  SectionTable table{.header = {""}};
  for (const ComparedRun& run : runs) table.header.push_back(run.name);
  NameList keys;
  for (const auto& of_run : values)
    for (const KeyValue& pair : of_run) keys.add(pair.key);
  for (const std::string& key : keys.names()) {
    std::vector<std::string> row = {key};
    for (const auto& of_run : values) row.push_back(value_or_none(of_run, key));
    const bool same =
        std::all_of(row.begin() + 2, row.end(), [&](const auto& cell) { return cell == row[1]; });
    if (!only_different || !same) table.rows.push_back(std::move(row));
  }
  return table;
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\",");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\",") - begin + 1);
}

/// "learning-rate = 0.001" and "\"learning-rate\": 0.001" of a configuration's lines.
std::vector<KeyValue> settings_of(const TrainingReport& report) {
  std::vector<KeyValue> settings = report.summary;
  std::string_view rest = report.configuration;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const auto place = line.find_first_of("=:");
    if (place == std::string_view::npos) continue;
    const std::string_view key = trimmed(line.substr(0, place)), value = trimmed(line.substr(place + 1));
    if (!key.empty() && !value.empty() && key[0] != '#')
      settings.push_back({std::string(key), std::string(value)});
  }
  settings.insert(settings.end(), report.environment.begin(), report.environment.end());
  return settings;
}

/// One line for every run that has such values.
plot::Plot over_each_other(const Runs& runs, std::string title, const ValueOfEpoch& value) {
  plot::Plot plot{.title = std::move(title), .x = {.label = "Epoch", .integers = true}};
  plot.y.label = plot.title;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    plot::Series series{.label = runs[i].name};
    for (const EpochRow& row : runs[i].report.epochs) {
      series.x.push_back(static_cast<double>(row.epoch));
      series.y.push_back(value(row));
    }
    series.color = static_cast<int>(i % plot::kPaletteSize);
    series.dashed = i >= plot::kPaletteSize;
    if (std::ranges::any_of(series.y, [](double y) { return std::isfinite(y); }))
      plot.series.push_back(std::move(series));
  }
  return plot;
}

std::vector<plot::Plot> curves_of(const Runs& runs) {
  NameList losses, metrics;
  for (const ComparedRun& run : runs) {
    for (const std::string& name : names_of(run.report.epochs, &EpochRow::losses)) losses.add(name);
    for (const std::string& name : names_of(run.report.epochs, &EpochRow::metrics)) metrics.add(name);
  }
  std::vector<plot::Plot> plots = {
      over_each_other(runs, "Validation loss", [](const EpochRow& row) { return row.valid_loss; }),
      over_each_other(runs, "Training loss", [](const EpochRow& row) { return row.train_loss; })};
  for (const std::string& name : metrics.names())
    plots.push_back(over_each_other(runs, metric_heading(name),
                                    [&](const EpochRow& row) { return value_of(row.metrics, name); }));
  for (const std::string& name : main_terms(losses.names()))
    plots.push_back(over_each_other(runs, "Loss: " + metric_label(without_total(name)),
                                    [&](const EpochRow& row) { return value_of(row.losses, name); }));
  std::erase_if(plots, [](const plot::Plot& plot) { return plot.series.empty(); });
  return plots;
}

void check(const Runs& runs) {
  expects(runs.size() >= 2, "a comparison needs two runs or more");
  std::set<std::string> names;
  for (const ComparedRun& run : runs)
    if (!names.insert(run.name).second)
      throw ConfigError("run", run.name, "runs with names of their own: they stand beside each other");
}

}  // namespace

Page compare_runs(const Runs& runs) {
  check(runs);
  std::vector<std::vector<KeyValue>> numbers, settings;
  std::string names;
  for (const ComparedRun& run : runs) {
    numbers.push_back(final_numbers(run.report));
    settings.push_back(settings_of(run.report));
    names += (names.empty() ? "" : " · ") + run.name;
  }
  Section results{.title = "Final results", .table = side_by_side(runs, numbers, false)};
  Section differing{.title = "Settings that differ", .table = side_by_side(runs, settings, true)};
  if (differing.table.rows.empty()) differing.paragraphs = {"None."};
  return {
      .title = fmt::format("{} runs", runs.size()),
      .subtitle = names,
      .sections = {std::move(results), {.title = "Curves", .plots = curves_of(runs)}, std::move(differing)}};
}

}  // namespace bunchtrain::report
