// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Text tables for the terminal: columns aligned, numbers at their right edge.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::report {

enum class TableStyle { box, plain };

/// A table of texts. A column whose cells all look like numbers ("0.98", "1.3e-4", "> 3001", "340 ± 12", "12
/// %") is aligned right. Widths count characters of UTF-8, not bytes. Not thread-safe while written.
class Table {
 public:
  explicit Table(std::vector<std::string> header);

  /// @throws ConfigError if the number of cells differs from the header's.
  void add_row(std::vector<std::string> cells);
  /// A rule between the row before and the one after.
  void add_rule();
  std::size_t num_rows() const noexcept { return rows_.size(); }

  /// `box`: UTF-8 lines. `plain`: two spaces between columns, a line of dashes under the header.
  /// @param width columns that there are, 0 = any number. A table that does not fit loses its box first, then
  /// its cells are broken at blanks, and at last every row becomes a block of lines, one for each column.
  std::string to_string(TableStyle style = TableStyle::box, std::size_t width = 0) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool rule_before = false;
  };
  struct Columns {
    std::vector<std::size_t> widths;
    std::vector<bool> right;
  };
  Columns natural_columns() const;
  /// Narrower columns with cells broken at blanks; nothing if even single words are too wide.
  std::optional<Columns> narrow_columns(Columns columns, std::size_t width) const;
  std::string lay_out(const Columns& columns, bool box) const;
  std::string stack(std::size_t width) const;

  std::vector<std::string> header_;
  std::vector<Row> rows_;
  bool pending_rule_ = false;
};

/// How many columns a UTF-8 text takes (one per code point; combining marks are not expected).
std::size_t display_width(std::string_view text) noexcept;

/// Columns of the terminal behind standard output, or $COLUMNS; 0 if it goes elsewhere.
std::size_t output_width();

}  // namespace bunchtrain::report
