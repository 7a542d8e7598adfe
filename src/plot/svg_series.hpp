// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Draws the series of a plot as SVG elements.

#include <string>
#include <vector>

#include "axis_map.hpp"
#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::plot {

struct Pixel {
  double x;
  double y;
};

/// A series that is going to be drawn: its colour fixed, the base of stacked bars worked out.
struct DrawnSeries {
  const Series* series;
  int color;
  std::vector<double> base = {};  ///< bars only: where each bar begins
  double bar_width = 0;           ///< bars only: in units of x
};

/// The series that have data, with colours and stacking. @throws ConfigError for lengths that do not fit.
std::vector<DrawnSeries> prepare_series(const Plot& plot);

/// What the data of all series cover.
Range x_range(const std::vector<DrawnSeries>& series, Scale scale);
Range y_range(const std::vector<DrawnSeries>& series, Scale scale);
/// Bars and histograms stand on zero.
bool needs_zero(const std::vector<DrawnSeries>& series);

/// Whether points are marked: always for points, and for lines of few of them.
bool shows_markers(const Series& series);

/// SVG elements of one series.
std::string draw_series(const DrawnSeries& drawn, const AxisMap& x, const AxisMap& y);
/// Pixels along the ink of one series, close enough together to find out where a legend would hide it.
std::vector<Pixel> trace_series(const DrawnSeries& drawn, const AxisMap& x, const AxisMap& y);

}  // namespace bunchtrain::plot
