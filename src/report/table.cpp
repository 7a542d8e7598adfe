// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/table.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "bunchtrain/core/error.hpp"

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
  const std::string space(width - display_width(cell), ' ');
  return right ? space + cell : cell + space;
}

struct Frame {
  std::string_view left, between, right;
};

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

std::string Table::to_string(TableStyle style) const {
  const std::size_t columns = header_.size();
  std::vector<std::size_t> widths(columns);
  std::vector<bool> right(columns);
  for (std::size_t c = 0; c < columns; ++c) {
    bool numeric = false, all_fit = true;
    widths[c] = display_width(header_[c]);
    for (const Row& row : rows_) {
      widths[c] = std::max(widths[c], display_width(row.cells[c]));
      const bool is_number = looks_like_number(row.cells[c]);
      numeric = numeric || is_number;
      all_fit = all_fit && (is_number || is_empty_or_dash(row.cells[c]));
    }
    right[c] = numeric && all_fit;
  }

  const bool box = style == TableStyle::box;
  const Frame row_frame = box ? Frame{"│ ", " │ ", " │"} : Frame{"", "  ", ""};
  const auto make_row = [&](const std::vector<std::string>& cells) {
    std::vector<std::string> padded(columns);
    for (std::size_t c = 0; c < columns; ++c) padded[c] = pad(cells[c], widths[c], right[c]);
    return make_line(padded, row_frame);
  };
  const auto make_rule = [&](const Frame& frame) {
    std::vector<std::string> dashes(columns);
    for (std::size_t c = 0; c < columns; ++c) dashes[c] = repeat(box ? "─" : "-", widths[c]);
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

}  // namespace bunchtrain::report
