// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/html_report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/plot/detail/markup.hpp"
#include "html_parts.hpp"
#include "loss_terms.hpp"
#include "report_plots.hpp"

namespace bunchtrain::report {
namespace {

std::string pairs_table(const std::vector<KeyValue>& pairs) {
  if (pairs.empty()) return {};
  std::string rows;
  for (const auto& [key, value] : pairs) {
    rows += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", plot::escape_markup(key),
                        plot::escape_markup(value));
  }
  return "<div class=\"scroll\"><table class=\"pairs\"><tbody>" + rows + "</tbody></table></div>";
}

std::string fixed(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "–";
}

// Metrics of any size: decimals only where they say something.
std::string fixed_short(double value, int decimals) {
  return fixed(value, std::abs(value) < 10 ? decimals : 1);
}

// The epoch with the greatest validation AUC, or else the smallest validation loss;
// nullptr without validation.
const EpochRow* best_epoch(const std::vector<EpochRow>& epochs) {
  const auto score = [](const EpochRow& row) {
    const double auc = value_of(row.metrics, "valid_auc");
    if (std::isfinite(auc)) return auc;
    return std::isfinite(row.valid_loss) ? -row.valid_loss : -std::numeric_limits<double>::infinity();
  };
  const auto best = std::max_element(epochs.begin(), epochs.end(),
                                     [&](const auto& a, const auto& b) { return score(a) < score(b); });
  return best == epochs.end() || std::isinf(score(*best)) ? nullptr : &*best;
}

// ---- Numbers at the head

std::string speed_numbers(const TrainingReport& report) {
  if (report.epochs.empty()) return {};
  double seconds = 0;
  std::vector<double> rates;
  for (const EpochRow& row : report.epochs) {
    seconds += row.seconds;
    if (std::isfinite(row.samples_per_second)) rates.push_back(row.samples_per_second);
  }
  std::sort(rates.begin(), rates.end());
  std::string html;
  if (!rates.empty())
    html += number_html("Throughput, median", format_count(rates[rates.size() / 2]), report.samples + "/s");
  const std::size_t count = report.epochs.size();
  return html + number_html(fmt::format("Time for {} epoch{}", count, count == 1 ? "" : "s"),
                            format_duration(seconds));
}

/// Those of the sections, or else the metrics of the last epoch.
std::string big_numbers(const TrainingReport& report) {
  std::string html = section_numbers_html(report.sections);
  if (html.empty() && !report.epochs.empty()) {
    for (const NamedValue& metric : report.epochs.back().metrics)
      html += number_html(metric_heading(metric.name), fixed_short(metric.value, 4));
  }
  return numbers_html(html + speed_numbers(report));
}

// ---- Epoch table
// ----------------------------------------------------------------------------------------------------

// A column of numbers: its heading and what it shows of an epoch.
struct Column {
  std::string heading;
  std::function<double(const EpochRow&)> value;
  std::function<std::string(double)> format;
};

bool has_values(const Column& column, const std::vector<EpochRow>& epochs) {
  return std::any_of(epochs.begin(), epochs.end(),
                     [&](const EpochRow& row) { return std::isfinite(column.value(row)); });
}

// Losses of a run with named terms: those that are not part of another one.
std::vector<Column> loss_columns(const TrainingReport& report) {
  const auto five_digits = [](double value) { return fixed_short(value, 5); };
  std::vector<Column> columns;
  for (const std::string& name : main_terms(names_of(report.epochs, &EpochRow::losses))) {
    columns.push_back({metric_label(without_total(name)),
                       [name](const EpochRow& row) { return value_of(row.losses, name); }, five_digits});
  }
  if (columns.empty())
    columns.push_back({"Training loss", [](const EpochRow& row) { return row.train_loss; }, five_digits});
  columns.push_back({"Validation loss", [](const EpochRow& row) { return row.valid_loss; }, five_digits});
  return columns;
}

std::vector<Column> epoch_columns(const TrainingReport& report) {
  std::vector<Column> columns = loss_columns(report);
  for (const std::string& name : names_of(report.epochs, &EpochRow::metrics)) {
    columns.push_back({metric_label(name),
                       [name](const EpochRow& row) { return value_of(row.metrics, name); },
                       [](double value) { return fixed_short(value, 5); }});
  }
  columns.push_back({"Learning rate", [](const EpochRow& row) { return row.learning_rate; },
                     [](double value) { return std::isfinite(value) ? fmt::format("{:.3g}", value) : "–"; }});
  columns.push_back(
      {report.samples + "/s", [](const EpochRow& row) { return row.samples_per_second; }, format_count});
  columns.push_back({"Time", [](const EpochRow& row) { return row.seconds; }, format_duration});
  std::erase_if(columns, [&](const Column& column) { return !has_values(column, report.epochs); });
  return columns;
}

std::string epoch_table(const TrainingReport& report) {
  if (report.epochs.empty()) return {};
  const std::vector<Column> columns = epoch_columns(report);
  std::string head = "<th class=\"number\">Epoch</th><th class=\"number\">Step</th>", rows;
  for (const Column& column : columns)
    head += fmt::format("<th class=\"number\">{}</th>", plot::escape_markup(column.heading));
  const EpochRow* best = best_epoch(report.epochs);
  for (const EpochRow& row : report.epochs) {
    rows += fmt::format("<tr{}><th class=\"number\" scope=\"row\">{}</th><td class=\"number\">{}</td>",
                        &row == best ? " class=\"best\"" : "", row.epoch, format_integer(row.step));
    for (const Column& column : columns)
      rows +=
          fmt::format("<td class=\"number\">{}</td>", plot::escape_markup(column.format(column.value(row))));
    rows += "</tr>";
  }
  return fmt::format("<details{}><summary>All epochs</summary>{}</details>",
                     report.epochs.size() <= 12 ? " open" : "", table_html("<tr>" + head + "</tr>", rows));
}

std::string text_block(std::string_view heading, const std::string& text) {
  if (text.empty()) return {};
  return fmt::format("<details><summary>{}</summary><pre>{}</pre></details>", heading,
                     plot::escape_markup(text));
}

std::string training_section(const TrainingReport& report) {
  std::vector<Figure> figures{make_loss_figure(report)};
  for (Figure& figure : make_loss_term_figures(report)) figures.push_back(std::move(figure));
  for (Figure& figure : make_metric_figures(report)) figures.push_back(std::move(figure));
  for (Figure& figure : make_logged_figures(report)) figures.push_back(std::move(figure));
  figures.push_back(make_learning_rate_figure(report));
  figures.push_back(make_throughput_figure(report));
  figures.push_back(make_step_split_figure(report));
  figures.push_back(make_loader_figure(report));
  return section_html("Training", figures_html(figures) + epoch_table(report));
}

std::string provenance_section(const TrainingReport& report) {
  return section_html("Configuration and provenance", pairs_table(report.environment) +
                                                          text_block("Configuration", report.configuration) +
                                                          text_block("Data card", report.card));
}

}  // namespace

std::string render_html(const TrainingReport& report) {
  return html_document(report.title.empty() ? "Training report" : report.title, report.subtitle,
                       big_numbers(report) + section_html("Run", pairs_table(report.summary)) +
                           sections_html(report.sections) + training_section(report) +
                           provenance_section(report));
}

}  // namespace bunchtrain::report
