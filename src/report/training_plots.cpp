// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "loss_terms.hpp"
#include "report_plots.hpp"

namespace bunchtrain::report {
namespace {

constexpr int kGrey = 6;
const std::string kValidLoss = "valid_loss";

plot::Axis epoch_axis() { return {.label = "Epoch", .integers = true}; }

plot::Series over_epochs(const TrainingReport& report, std::string label,
                         const std::function<double(const EpochRow&)>& value) {
  plot::Series series{.label = std::move(label), .mark = plot::Mark::line, .x = {}, .y = {}};
  for (const EpochRow& row : report.epochs) {
    series.x.push_back(static_cast<double>(row.epoch));
    series.y.push_back(value(row));
  }
  return series;
}

bool has_values(const plot::Series& series) {
  return std::any_of(series.y.begin(), series.y.end(), [](double value) { return std::isfinite(value); });
}

void add_if_any(plot::Plot& plot, plot::Series series) {
  if (has_values(series)) plot.series.push_back(std::move(series));
}

// Steps as fractions of an epoch, so that they share the axis of the epochs; plain steps
// before the first epoch ended.
std::vector<double> as_epochs(const TrainingReport& report, std::vector<double> x) {
  if (report.epochs.empty() || report.epochs.back().epoch <= 0 || report.epochs.back().step <= 0) return x;
  const EpochRow& last = report.epochs.back();
  const double steps_per_epoch = static_cast<double>(last.step) / static_cast<double>(last.epoch);
  for (double& value : x) value /= steps_per_epoch;
  return x;
}

std::vector<double> steps_as_epochs(const TrainingReport& report) {
  return as_epochs(report, report.steps.step);
}

// What validations found at the ends of epochs, with what those within them did.
plot::Series over_validations(const TrainingReport& report, std::string label, const std::string& name,
                              const std::function<double(const EpochRow&)>& value) {
  plot::Series series = over_epochs(report, std::move(label), value);
  const auto found = std::ranges::find(report.validations.values, name, &NamedSeries::name);
  if (found == report.validations.values.end()) return series;
  const std::vector<double> within = as_epochs(report, report.validations.step);
  std::vector<std::array<double, 2>> points;
  for (std::size_t i = 0; i < within.size(); ++i) points.push_back({within[i], found->values[i]});
  for (std::size_t i = 0; i < series.x.size(); ++i) points.push_back({series.x[i], series.y[i]});
  std::ranges::stable_sort(points, {}, [](const auto& point) { return point[0]; });
  series.x.clear();
  series.y.clear();
  for (const auto& [x, y] : points) {
    series.x.push_back(x);
    series.y.push_back(y);
  }
  return series;
}

// Of epochs, and of validations within them.
std::vector<std::string> metric_names(const TrainingReport& report) {
  std::vector<std::string> names = names_of(report.epochs, &EpochRow::metrics);
  for (const NamedSeries& series : report.validations.values)
    if (series.name != kValidLoss && std::ranges::find(names, series.name) == names.end())
      names.push_back(series.name);
  return names;
}

plot::Axis progress_axis(const TrainingReport& report) {
  return report.epochs.empty() ? plot::Axis{.label = "Step"} : epoch_axis();
}

std::vector<std::string> loss_term_names(const TrainingReport& report) {
  std::vector<std::string> names = names_of(report.epochs, &EpochRow::losses);
  if (names.empty()) {
    for (const NamedSeries& series : report.steps.losses) names.push_back(series.name);
  }
  return names;
}

// One loss term: pale over steps, strong over epochs, as the loss of a single network.
void add_term(plot::Plot& plot, const TrainingReport& report, const std::string& name,
              const std::string& label, int color) {
  for (const NamedSeries& term : report.steps.losses) {
    if (term.name != name) continue;
    plot::Series steps{.x = steps_as_epochs(report), .y = term.values, .color = color};
    steps.faint = !report.epochs.empty();
    if (!steps.faint) steps.label = label;
    plot.x.min = 0;
    add_if_any(plot, std::move(steps));
  }
  plot::Series series =
      over_epochs(report, label, [&](const EpochRow& row) { return value_of(row.losses, name); });
  series.color = color;
  add_if_any(plot, std::move(series));
}

// A log scale for values of very different size, if all are positive.
plot::Scale fitting_scale(const plot::Plot& plot) {
  constexpr double kWide = 30;
  double least = std::numeric_limits<double>::infinity(), greatest = 0;
  for (const plot::Series& series : plot.series) {
    for (double value : series.y) {
      if (!std::isfinite(value)) continue;
      least = std::min(least, value);
      greatest = std::max(greatest, value);
    }
  }
  return least > 0 && greatest > kWide * least ? plot::Scale::log : plot::Scale::linear;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

std::string metric_label(std::string_view name) {
  constexpr std::string_view kPrefix = "valid_";
  std::string label(name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name);
  std::replace(label.begin(), label.end(), '_', ' ');
  if (label == "auc") label = "AUC";
  return label;
}

std::string metric_heading(std::string_view name) {
  std::string heading = metric_label(name);
  if (!heading.empty() && heading[0] >= 'a' && heading[0] <= 'z') heading[0] += 'A' - 'a';
  return heading;
}

Figure make_loss_figure(const TrainingReport& report) {
  plot::Plot plot{.x = progress_axis(report), .y = {.label = "Loss"}};
  const bool has_terms = !loss_term_names(report).empty();
  if (!report.steps.loss.empty() && !has_terms) {
    plot::Series steps{
        .label = "training, per step", .x = steps_as_epochs(report), .y = report.steps.loss, .color = kGrey};
    steps.faint = !report.epochs.empty();
    plot.x.min = 0;
    add_if_any(plot, std::move(steps));
  }
  plot::Series train = over_epochs(report, "training", [](const EpochRow& row) { return row.train_loss; });
  plot::Series valid =
      over_validations(report, "validation", kValidLoss, [](const EpochRow& row) { return row.valid_loss; });
  train.color = 0;
  valid.color = 1;
  if (!has_terms) add_if_any(plot, std::move(train));
  add_if_any(plot, std::move(valid));
  return {.plot = std::move(plot), .heading = "Loss"};
}

std::vector<Figure> make_loss_term_figures(const TrainingReport& report) {
  std::vector<Figure> figures;
  for (const TermGroup& group : group_terms(loss_term_names(report))) {
    plot::Plot plot{.x = progress_axis(report), .y = {.label = "Loss"}};
    for (std::size_t i = 0; i < group.terms.size(); ++i)
      add_term(plot, report, group.terms[i], group.labels[i], static_cast<int>(i));
    plot.y.scale = fitting_scale(plot);
    figures.push_back({.plot = std::move(plot), .heading = "Losses: " + metric_label(group.name)});
  }
  return figures;
}

std::vector<Figure> make_logged_figures(const TrainingReport& report) {
  std::vector<Figure> figures;
  for (const NamedSeries& logged : report.steps.logged) {
    plot::Plot plot{.x = progress_axis(report), .y = {.label = metric_label(logged.name)}};
    plot.x.min = 0;
    add_if_any(plot, {.x = steps_as_epochs(report), .y = logged.values});
    figures.push_back({.plot = std::move(plot),
                       .heading = metric_heading(logged.name),
                       .caption = "Logged by the program, mean over the ranks."});
  }
  return figures;
}

Figure make_learning_rate_figure(const TrainingReport& report) {
  plot::Plot plot{.x = progress_axis(report), .y = {.label = "Learning rate", .min = 0}};
  plot::Series series{.x = steps_as_epochs(report), .y = report.steps.learning_rate};
  if (has_values(series)) {
    plot.x.min = 0;
  } else {
    series = over_epochs(report, "", [](const EpochRow& row) { return row.learning_rate; });
  }
  add_if_any(plot, std::move(series));
  return {.plot = std::move(plot), .heading = "Learning rate"};
}

Figure make_throughput_figure(const TrainingReport& report) {
  plot::Plot plot{.x = epoch_axis(), .y = {.label = report.samples + " / s", .min = 0}};
  add_if_any(plot, over_epochs(report, "", [](const EpochRow& row) { return row.samples_per_second; }));
  return {.plot = std::move(plot), .heading = "Throughput", .caption = "Training, all ranks together."};
}

Figure make_step_split_figure(const TrainingReport& report) {
  struct Part {
    const char* label;
    double StepSplit::*member;
  };
  constexpr std::array<Part, 6> kParts{{{"data", &StepSplit::data},
                                        {"forward", &StepSplit::forward},
                                        {"backward", &StepSplit::backward},
                                        {"communication", &StepSplit::communication},
                                        {"optimizer", &StepSplit::optimizer},
                                        {"idle", &StepSplit::idle}}};
  constexpr std::array<int, 6> kColors{4, 0, 7, 1, 2, 3};
  constexpr double kMilliseconds = 1e3;

  plot::Plot plot{.x = epoch_axis(), .y = {.label = "Time per step [ms]"}};
  double total = 0;
  for (const EpochRow& row : report.epochs) total += row.split.total();
  std::string caption;
  for (std::size_t i = 0; total > 0 && i < kParts.size(); ++i) {
    const Part& part = kParts[i];
    plot::Series series = over_epochs(
        report, part.label, [&](const EpochRow& row) { return kMilliseconds * row.split.*part.member; });
    series.mark = plot::Mark::bars;
    series.color = kColors[i];
    double sum = 0;
    for (double value : series.y) sum += value / kMilliseconds;
    caption += fmt::format("{}{} {:.1f} %", i == 0 ? "Mean: " : ", ", part.label, 100 * sum / total);
    plot.series.push_back(std::move(series));
  }
  if (!caption.empty())
    caption +=
        ". Communication is what is not hidden behind the backward pass, idle is waiting for other ranks.";
  return {.plot = std::move(plot), .heading = "Where a step spends its time", .caption = std::move(caption)};
}

Figure make_loader_figure(const TrainingReport& report) {
  struct Part {
    const char* label;
    double LoaderSplit::*p50;
    double LoaderSplit::*p99;
  };
  constexpr std::array<Part, 4> kParts{
      {{"wait of a step", &LoaderSplit::wait_p50, &LoaderSplit::wait_p99},
       {"fetching a range", &LoaderSplit::fetch_p50, &LoaderSplit::fetch_p99},
       {"decoding a range", &LoaderSplit::decode_p50, &LoaderSplit::decode_p99},
       {"assembling a batch", &LoaderSplit::assemble_p50, &LoaderSplit::assemble_p99}}};
  constexpr double kMilliseconds = 1e3;

  Figure figure{.plot = {.x = epoch_axis(), .y = {.label = "p99 [ms]"}}, .heading = "Waiting for data"};
  const LoaderSplit last = report.epochs.empty() ? LoaderSplit{} : report.epochs.back().loader;
  if (last.slowest_stage.empty()) return figure;
  for (const Part& part : kParts) {
    add_if_any(figure.plot, over_epochs(report, part.label, [&](const EpochRow& row) {
                 return kMilliseconds * row.loader.*part.p99;
               }));
    figure.caption += fmt::format("{} p50 {:.2g} ms, p99 {:.2g} ms; ", part.label,
                                  kMilliseconds * last.*part.p50, kMilliseconds * last.*part.p99);
  }
  figure.plot.y.scale = fitting_scale(figure.plot);
  figure.caption = fmt::format(
      "Last epoch, slowest rank: {}most work in {}. {:.3g} GB fetched, {:.2f} times as much decoded as used, {:.3g} "
      "processor seconds per GB used{}.",
      figure.caption, last.slowest_stage, 1e-9 * last.bytes_fetched, last.read_amplification,
      last.processor_seconds_per_gb,
      std::isnan(last.padding) ? "" : fmt::format(", {:.3g} places in batches per element", last.padding));
  return figure;
}

std::vector<Figure> make_metric_figures(const TrainingReport& report) {
  const plot::Axis axis = progress_axis(report);
  Figure quality{.plot = {.x = axis, .y = {.label = "Validation"}}, .heading = "Accuracy and AUC"};
  Figure rejection{.plot = {.x = axis, .y = {.label = "1/ε_B", .scale = plot::Scale::log}},
                   .heading = "Background rejection",
                   .caption = "Validation, at fixed signal efficiency."};
  std::vector<Figure> others;
  for (const std::string& name : metric_names(report)) {
    plot::Series series = over_validations(report, metric_label(name), name,
                                           [&](const EpochRow& row) { return value_of(row.metrics, name); });
    if (!has_values(series)) continue;
    if (contains(name, "accuracy") || contains(name, "auc")) {
      quality.plot.series.push_back(std::move(series));
    } else if (contains(name, "rejection")) {
      rejection.plot.series.push_back(std::move(series));
    } else {
      const std::string label = std::exchange(series.label, "");
      plot::Plot plot{.x = axis, .y = {.label = label}, .series = {std::move(series)}};
      plot.y.scale = fitting_scale(plot);
      others.push_back({.plot = std::move(plot), .heading = metric_heading(name)});
    }
  }
  std::vector<Figure> figures{std::move(quality), std::move(rejection)};
  std::move(others.begin(), others.end(), std::back_inserter(figures));
  return figures;
}

}  // namespace bunchtrain::report
