// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Text tables for the terminal: columns aligned, numbers at their right edge.

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
  std::string to_string(TableStyle style = TableStyle::box) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool rule_before = false;
  };
  std::vector<std::string> header_;
  std::vector<Row> rows_;
  bool pending_rule_ = false;
};

/// How many columns a UTF-8 text takes (one per code point; combining marks are not expected).
std::size_t display_width(std::string_view text) noexcept;

}  // namespace bunchtrain::report
