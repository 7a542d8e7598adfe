// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Gathers what steps recorded, for a plot, in memory that does not grow with the length of a run.

#include <cstddef>
#include <string_view>
#include <vector>

#include "bunchtrain/report/html_report.hpp"
#include "bunchtrain/report/record.hpp"

namespace bunchtrain::report {

/// Means over groups of neighbouring steps. Groups are single steps until there are `kLimit` of them; then
/// pairs of groups are merged, and so on.
class StepCollector {
 public:
  static constexpr std::size_t kLimit = 24'000;  ///< even

  /// A record of kind "step": its step, loss, learning rate and loss terms.
  void add(const Record& record);
  /// At most `most` points, each the mean of its neighbourhood: a jagged loss stays readable.
  StepSeries series(std::size_t most) const;

 private:
  std::vector<double>& column(std::string_view name);
  void append(std::string_view name, double value);
  void merge_pairs();

  /// One per name, all of the same length once a record is in; NaN where a record had no such value. The last
  /// `open_` entries are single steps of the group that is being filled.
  std::vector<NamedSeries> columns_ = {};
  std::size_t length_ = 0;
  std::size_t open_ = 0;
  std::size_t group_ = 1;  ///< steps per finished entry
};

}  // namespace bunchtrain::report
