// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Gathers numbers over steps, for a plot, in memory that does not grow with the length of a run.

#include <cstddef>
#include <string_view>
#include <vector>

#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/report/html_report.hpp"

namespace bunchtrain::report {

/// Means over groups of neighbouring entries. Groups are single entries until there are `limit` of them; then
/// pairs of groups are merged, and so on.
class SeriesCollector {
 public:
  /// @param limit even
  explicit SeriesCollector(std::size_t limit) : limit_(limit) {}

  /// Of a name that comes twice the first value counts.
  void add(const std::vector<NamedValue>& entry);
  /// At most `most` points, each the mean of its neighbourhood: a jagged loss stays readable.
  std::vector<NamedSeries> series(std::size_t most) const;

 private:
  std::vector<double>& column(std::string_view name);
  void merge_pairs();

  /// One per name, all of the same length once an entry is in; NaN where an entry had no such value. The last
  /// `open_` entries are single ones of the group that is being filled.
  std::vector<NamedSeries> columns_ = {};
  std::size_t limit_;
  std::size_t length_ = 0;
  std::size_t open_ = 0;
  std::size_t group_ = 1;  ///< entries per finished one
};

}  // namespace bunchtrain::report
