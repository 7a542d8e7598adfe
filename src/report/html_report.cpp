// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/html_report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/report/text_format.hpp"
#include "html_style.hpp"
#include "markup.hpp"
#include "report_plots.hpp"

namespace bunchtrain::report {
namespace {

// Two beside each other fill the page at about one unit per pixel, so that the letters keep their size.
constexpr int kFigureWidth = 540, kFigureHeight = 370;

// A heading with content; nothing if there is no content.
std::string section(std::string_view heading, const std::string& content) {
  if (content.empty()) return {};
  return fmt::format("<section><h2>{}</h2>{}</section>\n", escape_markup(heading), content);
}

std::string figure_html(const Figure& figure) {
  if (figure.plot.series.empty()) return {};
  Plot plot = figure.plot;
  plot.width = kFigureWidth;
  plot.height = kFigureHeight;
  plot.description = figure.heading + ": " + plot.y.label + " against " + plot.x.label;
  std::string html = fmt::format("<figure><h3>{}</h3>{}", escape_markup(figure.heading),
                                 render_svg(plot, SvgStyle::inline_html));
  if (!figure.caption.empty())
    html += fmt::format("<figcaption>{}</figcaption>", escape_markup(figure.caption));
  return html + "</figure>\n";
}

std::string figures_html(const std::vector<Figure>& figures) {
  std::string html;
  for (const Figure& figure : figures) html += figure_html(figure);
  return html.empty() ? html : "<div class=\"columns\">" + html + "</div>";
}

std::string pairs_table(const std::vector<KeyValue>& pairs) {
  if (pairs.empty()) return {};
  std::string rows;
  for (const auto& [key, value] : pairs) {
    rows += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape_markup(key),
                        escape_markup(value));
  }
  return "<div class=\"scroll\"><table class=\"pairs\"><tbody>" + rows + "</tbody></table></div>";
}

std::string fixed(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "–";
}

std::string percent(double fraction) { return fmt::format("{:g} %", std::round(1000 * fraction) / 10); }

// The epoch with the greatest validation AUC, or else the smallest validation loss; nullptr without
// validation.
const EpochRow* best_epoch(const std::vector<EpochRow>& epochs) {
  const auto score = [](const EpochRow& row) {
    for (const NamedValue& metric : row.metrics) {
      if (metric.name == "valid_auc" && std::isfinite(metric.value)) return metric.value;
    }
    return std::isfinite(row.valid_loss) ? -row.valid_loss : -std::numeric_limits<double>::infinity();
  };
  const auto best = std::max_element(epochs.begin(), epochs.end(),
                                     [&](const auto& a, const auto& b) { return score(a) < score(b); });
  return best == epochs.end() || std::isinf(score(*best)) ? nullptr : &*best;
}

// ---- Results
// --------------------------------------------------------------------------------------------------------

std::string big_number(std::string_view label, const std::string& value, std::string_view unit = {}) {
  if (value.empty() || value == "–" || value == "-") return {};
  std::string small = unit.empty() ? "" : fmt::format(" <small>{}</small>", escape_markup(unit));
  return fmt::format("<div><dt>{}</dt><dd>{}{}</dd></div>", label, escape_markup(value), small);
}

std::string rejection_label(const RejectionPoint& point) {
  return fmt::format("1/ε<sub>B</sub> at ε<sub>S</sub> = {}", percent(point.signal_efficiency));
}

std::string big_numbers(const TrainingReport& report) {
  std::string html;
  if (report.evaluation) {
    const Evaluation& result = *report.evaluation;
    html += big_number(result.classes.size() > 2 ? "Mean AUC" : "AUC", fixed(result.auc, 4));
    html += big_number("Accuracy", fixed(result.accuracy, 4));
    if (result.classes.size() == 2 && !result.roc_curves.empty()) {
      for (const RejectionPoint& point : result.roc_curves.front().rejections) {
        html += big_number(rejection_label(point), format_rejection(point));
      }
    }
  }
  if (!report.epochs.empty()) {
    double seconds = 0;
    std::vector<double> rates;
    for (const EpochRow& row : report.epochs) {
      seconds += row.seconds;
      if (std::isfinite(row.samples_per_second)) rates.push_back(row.samples_per_second);
    }
    std::sort(rates.begin(), rates.end());
    if (!rates.empty())
      html += big_number("Throughput, median", format_count(rates[rates.size() / 2]), report.samples + "/s");
    html += big_number(fmt::format("Time for {} epochs", report.epochs.size()), format_duration(seconds));
  }
  return html.empty() ? html : "<dl class=\"numbers\">" + html + "</dl>\n";
}

std::string rejection_table(const Evaluation& result) {
  if (result.roc_curves.empty()) return {};
  std::string head = "<th>Signal</th><th>Background</th><th class=\"number\">AUC</th>", rows;
  for (const RejectionPoint& point : result.roc_curves.front().rejections) {
    head += fmt::format("<th class=\"number\">{}</th>", rejection_label(point));
  }
  for (const RocCurve& curve : result.roc_curves) {
    const std::string background = curve.background == "rest" ? "all others" : curve.background;
    rows += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\">{}</td>",
                        escape_markup(curve.signal), escape_markup(background), fixed(curve.auc, 5));
    for (const RejectionPoint& point : curve.rejections)
      rows += fmt::format("<td class=\"number\">{}</td>", escape_markup(format_rejection(point)));
    rows += "</tr>";
  }
  return fmt::format("<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>",
                     head, rows);
}

std::string results_section(const TrainingReport& report) {
  if (!report.evaluation) return {};
  const Evaluation& result = *report.evaluation;
  std::string samples;
  for (std::size_t c = 0; c < std::min(result.classes.size(), result.class_counts.size()); ++c) {
    samples += fmt::format("{}{} {}", c == 0 ? ": " : ", ", format_integer(result.class_counts[c]),
                           result.classes[c]);
  }
  std::string intro = fmt::format("On {}, {} {}{}", result.data.empty() ? "validation" : result.data,
                                  format_integer(result.samples), report.samples, samples);
  if (result.epoch > 0) intro += fmt::format("; after epoch {}", result.epoch);
  if (std::isfinite(result.loss)) intro += fmt::format("; loss {:.5f}", result.loss);
  return section("Results", fmt::format("<p>{}.</p>", escape_markup(intro)) + rejection_table(result));
}

// ---- Epoch table
// ----------------------------------------------------------------------------------------------------

std::string epoch_table(const TrainingReport& report) {
  if (report.epochs.empty()) return {};
  const std::vector<NamedValue>& metrics = report.epochs.front().metrics;
  std::string head =
      "<th class=\"number\">Epoch</th><th class=\"number\">Step</th><th class=\"number\">Training loss</th>"
      "<th class=\"number\">Validation loss</th>";
  for (const NamedValue& metric : metrics)
    head += fmt::format("<th class=\"number\">{}</th>", escape_markup(metric_label(metric.name)));
  head += fmt::format(
      "<th class=\"number\">Learning rate</th><th class=\"number\">{}/s</th><th class=\"number\">Time</th>",
      escape_markup(report.samples));
  const EpochRow* best = best_epoch(report.epochs);
  std::string rows;
  const auto cell = [](const std::string& text) {
    return "<td class=\"number\">" + escape_markup(text) + "</td>";
  };
  for (const EpochRow& row : report.epochs) {
    rows += &row == best ? "<tr class=\"best\">" : "<tr>";
    rows += fmt::format("<th class=\"number\" scope=\"row\">{}</th>", row.epoch);
    rows += cell(format_integer(row.step)) + cell(fixed(row.train_loss, 5)) + cell(fixed(row.valid_loss, 5));
    for (std::size_t m = 0; m < metrics.size(); ++m) {
      const double value = m < row.metrics.size() ? row.metrics[m].value : std::nan("");
      rows += cell(fixed(value, std::abs(value) < 10 ? 5 : 1));
    }
    rows += cell(std::isfinite(row.learning_rate) ? fmt::format("{:.3g}", row.learning_rate) : "–");
    rows += cell(format_count(row.samples_per_second)) + cell(format_duration(row.seconds)) + "</tr>";
  }
  return fmt::format(
      "<details{}><summary>All epochs</summary><div "
      "class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>",
      report.epochs.size() <= 12 ? " open" : "", head, rows);
}

std::string text_block(std::string_view heading, const std::string& text) {
  if (text.empty()) return {};
  return fmt::format("<details><summary>{}</summary><pre>{}</pre></details>", heading, escape_markup(text));
}

std::string training_section(const TrainingReport& report) {
  std::vector<Figure> figures{make_loss_figure(report)};
  for (Figure& figure : make_metric_figures(report)) figures.push_back(std::move(figure));
  figures.push_back(make_learning_rate_figure(report));
  figures.push_back(make_throughput_figure(report));
  figures.push_back(make_step_split_figure(report));
  return section("Training", figures_html(figures) + epoch_table(report));
}

std::string performance_section(const TrainingReport& report) {
  if (!report.evaluation) return {};
  std::vector<Figure> figures{make_roc_figure(*report.evaluation)};
  for (Figure& figure : make_rejection_figures(*report.evaluation)) figures.push_back(std::move(figure));
  for (Figure& figure : make_score_figures(*report.evaluation, report.samples))
    figures.push_back(std::move(figure));
  return section("Performance", figures_html(figures));
}

}  // namespace

std::string render_html(const TrainingReport& report) {
  const std::string title = escape_markup(report.title.empty() ? "Training report" : report.title);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<title>{}</title>\n<style>{}{}</style>\n</head>\n"
      "<body>\n<main>\n<header><h1>{}</h1>",
      title, page_style_sheet(), plot_style_sheet(), title);
  if (!report.subtitle.empty())
    html += fmt::format("<p class=\"subtitle\">{}</p>", escape_markup(report.subtitle));
  html += "</header>\n" + big_numbers(report) + results_section(report) +
          section("Run", pairs_table(report.summary)) + performance_section(report) +
          training_section(report) +
          section("Configuration and provenance", pairs_table(report.environment) +
                                                      text_block("Configuration", report.configuration) +
                                                      text_block("Data card", report.card));
  return html + fmt::format("<footer>Made by bunchtrain {}.</footer>\n</main>\n</body>\n</html>\n",
                            escape_markup(version()));
}

}  // namespace bunchtrain::report
