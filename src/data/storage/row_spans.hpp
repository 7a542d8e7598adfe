// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sets of rows as spans, for rows that are not there.

#include <cstdint>
#include <string>
#include <vector>

namespace bunchtrain::data {

/// Consecutive rows.
struct RowSpan {
  std::uint64_t first;
  std::uint64_t count;

  bool operator==(const RowSpan&) const = default;
};

/// Ascending, apart from each other.
using RowSpans = std::vector<RowSpan>;

/// Sorts and joins what touches or overlaps.
RowSpans normalised(RowSpans spans);
/// The rows of `spans` within [first, first + count), counted from `first`.
RowSpans cut(const RowSpans& spans, std::uint64_t first, std::uint64_t count);
/// Rows below `rows` that are in none of `spans`.
RowSpans complement(const RowSpans& spans, std::uint64_t rows);
std::uint64_t count_rows(const RowSpans& spans);
/// "rows 60 to 119", "row 3, rows 20 to 39 and 4 more ranges": for messages. @pre not empty
std::string to_string(const RowSpans& spans);

}  // namespace bunchtrain::data
