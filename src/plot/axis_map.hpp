// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From data to pixels along one axis, and the ticks between.

#include <string>
#include <vector>

#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::plot {

/// Smallest and greatest value seen; empty until the first one.
struct Range {
  double min = 0;
  double max = 0;
  bool empty = true;

  void add(double value, Scale scale);
};

struct Tick {
  double value;
  std::string label;  ///< empty for a minor tick
};

/// One axis laid out: limits, scale and where they fall.
class AxisMap {
 public:
  /// `include_zero`: the axis of bars and histograms begins at zero. `pad`: room beyond the data as a
  /// fraction of the range.
  AxisMap(const Axis& axis, Range data, bool include_zero, double pad);

  void set_pixels(double first, double last) { first_ = first, last_ = last; }
  double operator()(double value) const;
  /// Whether the value has a place on this axis (finite; positive on a log scale).
  bool has_place(double value) const;

  const std::vector<Tick>& ticks() const noexcept { return ticks_; }
  /// "×10⁵" if it was taken out of the labels, else empty.
  const std::string& common_factor() const noexcept { return common_factor_; }
  double min() const noexcept { return min_; }
  double max() const noexcept { return max_; }
  Scale scale() const noexcept { return scale_; }

 private:
  void set_limits(const Axis& axis, Range data, bool include_zero, double pad);
  void set_linear_ticks(bool integers);
  void set_log_ticks();

  Scale scale_;
  double min_ = 0, max_ = 1;
  double first_ = 0, last_ = 1;
  std::vector<Tick> ticks_;
  std::string common_factor_;
};

/// "10³" for 3; "1" for 0 and "10" for 1.
std::string format_power_of_ten(int exponent);

}  // namespace bunchtrain::plot
