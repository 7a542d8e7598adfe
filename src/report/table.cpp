// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/table.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "terminal.hpp"

namespace bunchtrain::report {
namespace {

// A number may carry a sign, "> ", an error, a unit or a percent sign: what counts is how it begins.
bool looks_like_number(std::string_view cell) {
  while (!cell.empty() && std::string_view("<>~+- ").find(cell.front()) != std::string_view::npos)
    cell.remove_prefix(1);
  return !cell.empty() && cell.front() >= '0' && cell.front() <= '9';
}

bool is_empty_or_dash(std::string_view cell) { return cell.empty() || cell == "-" || cell == "–"; }

std::string repeat(std::string_view text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

std::string pad(const std::string& cell, std::size_t width, bool right) {
  const std::string space(width - std::min(width, display_width(cell)), ' ');
  return right ? space + cell : cell + space;
}

struct Frame {
  std::string_view left, between, right;
};
constexpr Frame kBox{"│ ", " │ ", " │"}, kPlain{"", "  ", ""};

std::size_t total_width(const std::vector<std::size_t>& widths, const Frame& frame) {
  return std::accumulate(widths.begin(), widths.end(), std::size_t{0}) + display_width(frame.left) +
         display_width(frame.right) + (widths.size() - 1) * display_width(frame.between);
}

std::size_t longest_word(std::string_view text) {
  std::size_t longest = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    longest = std::max(longest, display_width(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return longest;
}

/// Lines of at most `width` characters; words longer than that stay whole.
std::vector<std::string> break_at_blanks(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return {std::string(text)};
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    std::string& line = lines.back();
    if (line.empty())
      line = word;
    else if (display_width(line) + 1 + display_width(word) <= width)
      line.append(" ").append(word);
    else
      lines.emplace_back(word);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string make_line(const std::vector<std::string>& cells, const Frame& frame) {
  std::string line(frame.left);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += frame.between;
    line += cells[i];
  }
  line += frame.right;
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

}  // namespace

std::size_t display_width(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

Table::Table(std::vector<std::string> header) : header_(std::move(header)) {
  expects(!header_.empty(), "a table needs at least one column");
}

void Table::add_row(std::vector<std::string> cells) {
  if (cells.size() != header_.size()) {
    throw ConfigError(
        fmt::format("a row of {} cells does not fit a table of {} columns", cells.size(), header_.size()));
  }
  rows_.push_back({std::move(cells), pending_rule_});
  pending_rule_ = false;
}

void Table::add_rule() { pending_rule_ = !rows_.empty(); }

Table::Columns Table::natural_columns() const {
  const std::size_t count = header_.size();
  Columns columns{.widths = std::vector<std::size_t>(count), .right = std::vector<bool>(count)};
  for (std::size_t c = 0; c < count; ++c) {
    bool numeric = false, all_fit = true;
    columns.widths[c] = display_width(header_[c]);
    for (const Row& row : rows_) {
      columns.widths[c] = std::max(columns.widths[c], display_width(row.cells[c]));
      const bool is_number = looks_like_number(row.cells[c]);
      numeric = numeric || is_number;
      all_fit = all_fit && (is_number || is_empty_or_dash(row.cells[c]));
    }
    columns.right[c] = numeric && all_fit;
  }
  return columns;
}

std::optional<Table::Columns> Table::narrow_columns(Columns columns, std::size_t width) const {
  std::vector<std::size_t> least(columns.widths.size());
  for (std::size_t c = 0; c < least.size(); ++c) {
    least[c] = longest_word(header_[c]);
    for (const Row& row : rows_) least[c] = std::max(least[c], longest_word(row.cells[c]));
  }
  while (total_width(columns.widths, kPlain) > width) {
    // The widest column that has a blank to break at gives way first.
    std::size_t widest = least.size();
    for (std::size_t c = 0; c < least.size(); ++c)
      if (columns.widths[c] > least[c] &&
          (widest == least.size() || columns.widths[c] > columns.widths[widest]))
        widest = c;
    if (widest == least.size()) return std::nullopt;
    --columns.widths[widest];
  }
  return columns;
}

std::string Table::lay_out(const Columns& columns, bool box) const {
  const std::size_t count = header_.size();
  const Frame row_frame = box ? kBox : kPlain;
  const auto make_row = [&](const std::vector<std::string>& cells) {
    std::vector<std::vector<std::string>> broken;
    std::size_t lines = 1;
    for (std::size_t c = 0; c < count; ++c) {
      broken.push_back(break_at_blanks(cells[c], columns.widths[c]));
      lines = std::max(lines, broken.back().size());
    }
    std::string text;
    for (std::size_t line = 0; line < lines; ++line) {
      std::vector<std::string> padded(count);
      for (std::size_t c = 0; c < count; ++c)
        padded[c] = pad(line < broken[c].size() ? broken[c][line] : "", columns.widths[c], columns.right[c]);
      text += make_line(padded, row_frame);
    }
    return text;
  };
  const auto make_rule = [&](const Frame& frame) {
    std::vector<std::string> dashes(count);
    for (std::size_t c = 0; c < count; ++c) dashes[c] = repeat(box ? "─" : "-", columns.widths[c]);
    return make_line(dashes, frame);
  };
  const Frame middle = box ? Frame{"├─", "─┼─", "─┤"} : row_frame;

  std::string result;
  if (box) result += make_rule({"┌─", "─┬─", "─┐"});
  result += make_row(header_) + make_rule(middle);
  for (const Row& row : rows_) {
    if (row.rule_before) result += make_rule(middle);
    result += make_row(row.cells);
  }
  if (box) result += make_rule({"└─", "─┴─", "─┘"});
  return result;
}

std::string Table::stack(std::size_t width) const {
  std::size_t names = 0;
  for (const auto& name : header_) names = std::max(names, display_width(name));
  const std::size_t indent = std::min(names + 2, width / 2);
  std::string result;
  for (const Row& row : rows_) {
    if (!result.empty()) result += '\n';
    for (std::size_t c = 0; c < header_.size(); ++c) {
      const bool beside = display_width(header_[c]) + 2 <= indent;
      result += beside ? pad(header_[c], indent, false) : header_[c] + "\n" + std::string(indent, ' ');
      const auto lines = break_at_blanks(row.cells[c], width - indent);
      for (std::size_t line = 0; line < lines.size(); ++line)
        result += (line == 0 ? "" : std::string(indent, ' ')) + lines[line] + '\n';
    }
  }
  return result;
}

std::string Table::to_string(TableStyle style, std::size_t width) const {
  const Columns columns = natural_columns();
  const bool box = style == TableStyle::box;
  if (width == 0 || total_width(columns.widths, box ? kBox : kPlain) <= width) return lay_out(columns, box);
  if (const auto narrow = narrow_columns(columns, width)) return lay_out(*narrow, /*box=*/false);
  return stack(width);
}

std::size_t output_width() {
  if (const char* given = std::getenv("COLUMNS")) {
    const long columns = std::strtol(given, nullptr, 10);
    if (columns > 0) return static_cast<std::size_t>(columns);
  }
  const Terminal terminal = observe_standard_output();
  return terminal.interactive ? static_cast<std::size_t>(terminal.width) : 0;
}

}  // namespace bunchtrain::report
