// SPDX-License-Identifier: Apache-2.0
#include "html_parts.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/core/version.hpp"
#include "bunchtrain/plot/detail/markup.hpp"
#include "html_style.hpp"

namespace bunchtrain::report {
namespace {

// Two beside each other fill the page at about one unit per pixel, so that the letters keep their size.
constexpr int kFigureWidth = 540, kFigureHeight = 370;
constexpr std::string_view kGenerator = "name=\"generator\" content=\"bunchtrain\"";
constexpr std::string_view kStyleOfFirstPages = "<style>\n:root{color-scheme:light dark;--ink:";
constexpr std::size_t kMostOpenRows = 30;  ///< a longer table is folded

std::string caption_html(const std::string& caption) {
  return caption.empty() ? caption : fmt::format("<figcaption>{}</figcaption>", plot::escape_markup(caption));
}

std::string figure_html(const Figure& figure, int height) {
  if (figure.plot.series.empty()) return {};
  plot::Plot plot = figure.plot;
  plot.width = kFigureWidth;
  plot.height = height;
  if (plot.description.empty())
    plot.description = figure.heading + ": " + plot.y.label + " against " + plot.x.label;
  std::string html = "<figure>";
  if (!figure.heading.empty()) html += fmt::format("<h3>{}</h3>", plot::escape_markup(figure.heading));
  return html + plot::render_svg(plot, plot::SvgStyle::inline_html) + caption_html(figure.caption) +
         "</figure>\n";
}

std::string columns_html(const std::string& figures) {
  return figures.empty() ? figures : "<div class=\"columns\">" + figures + "</div>";
}

std::string paragraphs_html(const std::vector<std::string>& paragraphs) {
  std::string html;
  for (const std::string& text : paragraphs) html += fmt::format("<p>{}</p>", plot::escape_markup(text));
  return html;
}

/// A column of names or texts, not of numbers.
bool holds_words(const SectionTable& table, std::size_t column) {
  constexpr std::size_t kLongestNumber = 24;
  const auto is_text = [&](const auto& row) { return row[column].size() > kLongestNumber; };
  if (std::ranges::any_of(table.rows, is_text)) return true;
  return std::ranges::all_of(table.rows, [&](const auto& row) {
    return row[column].size() > 1 && row[column].find_first_of("0123456789") == std::string::npos;
  });
}

/// Which columns of a table stand at the right.
std::vector<bool> right_columns(const SectionTable& table) {
  std::vector<bool> right(table.header.size());
  for (std::size_t i = 1; i < right.size(); ++i) right[i] = !holds_words(table, i);
  return right;
}

std::string head_html(const SectionTable& table, const std::vector<bool>& right) {
  std::string html = "<tr>";
  for (std::size_t i = 0; i < table.header.size(); ++i)
    html += fmt::format("<th{}>{}</th>", right[i] ? " class=\"number\"" : "",
                        plot::format_html_label(table.header[i]));
  return html + "</tr>";
}

/// @param labels of the cells, for narrow pages; may be empty.
std::string row_html(const std::vector<std::string>& cells, const std::vector<bool>& right,
                     const std::vector<std::string>& labels) {
  std::string html = "<tr>";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string label =
        i < labels.size()
            ? fmt::format(" data-label=\"{}\"", plot::escape_markup(plot::plain_label(labels[i])))
            : "";
    html += fmt::format("<td{}{}>{}</td>", right[i] ? " class=\"number\"" : "", label,
                        plot::escape_markup(cells[i]));
  }
  return html + "</tr>";
}

std::string section_table_html(const SectionTable& table) {
  if (table.rows.empty()) return {};
  constexpr std::size_t kMostColumnsOfAPhone = 3;
  const bool stacked = table.header.size() > kMostColumnsOfAPhone;
  const std::vector<bool> right = right_columns(table);
  std::string rows;
  for (const auto& row : table.rows)
    rows += row_html(row, right, stacked ? table.header : std::vector<std::string>{});
  const std::string html = table_html(head_html(table, right), rows, stacked ? "stacked paired" : "");
  if (table.rows.size() <= kMostOpenRows) return html;
  return fmt::format("<details><summary>Table of {} rows</summary>{}</details>", table.rows.size(), html);
}

// The title moves from the plot to a heading, as everywhere on the page; plots keep their shape.
std::string plots_html(const std::vector<plot::Plot>& plots) {
  std::string html;
  for (const plot::Plot& plot : plots) {
    Figure figure{.plot = plot, .heading = plot.title, .caption = plot.caption};
    figure.plot.title.clear();
    html += figure_html(figure, kFigureWidth * plot.height / plot.width);
  }
  return columns_html(html);
}

// Four pictures of the usual width fit on a wide page a little smaller than drawn, one on a narrow page.
std::string pictures_html(const PictureRow& row) {
  if (row.pictures.empty()) return {};
  constexpr double kSmallest = 0.77, kLargest = 1.1;
  std::string html = "<figure><div class=\"pictures\">";
  for (const plot::HeatMap& map : row.pictures) {
    html += fmt::format("<div style=\"flex:1 1 {:.0f}px;max-width:{:.0f}px\">{}</div>", kSmallest * map.width,
                        kLargest * map.width, plot::render_svg(map, plot::SvgStyle::inline_html));
  }
  return html + "</div>" + caption_html(row.caption) + "</figure>\n";
}

}  // namespace

std::string html_document(std::string_view title, std::string_view subtitle, const std::string& body) {
  const std::string heading = plot::escape_markup(title);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta {}>\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<title>{}</title>\n<style>{}{}{}</style>\n</head>\n"
      "<body>\n<main>\n<header><h1>{}</h1>",
      kGenerator, heading, page_style_sheet(), plot::plot_style_sheet(), plot::heat_map_style_sheet(),
      heading);
  if (!subtitle.empty()) html += fmt::format("<p class=\"subtitle\">{}</p>", plot::escape_markup(subtitle));
  return html + "</header>\n" + body +
         fmt::format(
             "<footer>Made by bunchtrain {}.</footer>\n</main>\n<script>{}</script>\n</body>\n</html>\n",
             plot::escape_markup(version()), page_script());
}

std::string section_html(std::string_view heading, const std::string& content) {
  if (content.empty()) return {};
  const std::string title = heading.empty() ? "" : fmt::format("<h2>{}</h2>", plot::escape_markup(heading));
  return fmt::format("<section>{}{}</section>\n", title, content);
}

std::string table_html(const std::string& head, const std::string& rows, std::string_view stacked) {
  const std::string attribute = stacked.empty() ? "" : fmt::format(" class=\"{}\"", stacked);
  return fmt::format("<div class=\"scroll\"><table{}><thead>{}</thead><tbody>{}</tbody></table></div>",
                     attribute, head, rows);
}

std::string figures_html(const std::vector<Figure>& figures) {
  std::string html;
  for (const Figure& figure : figures) html += figure_html(figure, kFigureHeight);
  return columns_html(html);
}

std::string number_html(std::string_view label, std::string_view value, std::string_view unit) {
  if (value.empty() || value == "–" || value == "-") return {};
  const std::string small = unit.empty() ? "" : fmt::format(" <small>{}</small>", plot::escape_markup(unit));
  return fmt::format("<div><dt>{}</dt><dd>{}{}</dd></div>", plot::format_html_label(label),
                     plot::escape_markup(value), small);
}

std::string numbers_html(const std::string& numbers) {
  return numbers.empty() ? numbers : "<dl class=\"numbers\">" + numbers + "</dl>\n";
}

std::string section_numbers_html(const std::vector<Section>& sections) {
  std::string html;
  for (const Section& section : sections)
    for (const SectionNumber& number : section.numbers) html += number_html(number.label, number.value);
  return html;
}

std::string sections_html(const std::vector<Section>& sections) {
  std::string html;
  for (const Section& section : sections) {
    std::string content =
        paragraphs_html(section.paragraphs) + section_table_html(section.table) + plots_html(section.plots);
    for (const PictureRow& row : section.pictures) content += pictures_html(row);
    html += section_html(section.title, content);
  }
  return html;
}

bool is_page(const std::filesystem::path& path) {
  return begins_with_mark(path, kGenerator) || begins_with_mark(path, kStyleOfFirstPages);
}

std::string render_html(const Page& page) {
  return html_document(page.title, page.subtitle,
                       numbers_html(section_numbers_html(page.sections)) + sections_html(page.sections));
}

}  // namespace bunchtrain::report
