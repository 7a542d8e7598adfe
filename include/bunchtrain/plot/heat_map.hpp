// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Pictures of numbers on a grid: shower slices, correlation matrices.

#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::plot {

/// A grid of numbers drawn as colours. Row 0 is at the bottom. Values beyond `min` and `max` get the colour
/// at that end.
struct HeatMap {
  std::string title = {};
  std::string x_label = {};
  std::string y_label = {};
  std::vector<std::vector<double>> values = {};  ///< [row][column]; NaN is left blank
  Scale scale = Scale::linear;                   ///< log: values that are not positive are left blank
  std::optional<double> min = {};                ///< of the colours; from the values if not given
  std::optional<double> max = {};
  bool diverging = false;                   ///< two colours around 0 (correlations, differences); linear only
  std::vector<std::string> row_names = {};  ///< instead of numbers on the axes
  std::vector<std::string> column_names = {};
  bool print_values = false;
  int width = 300;
  int height = 260;
};

/// @throws ConfigError if rows differ in length, names do not fit them, or the limits do not fit the scale.
void validate(const HeatMap& map);

/// An svg element with a colour bar. @throws ConfigError as `validate`.
std::string render_svg(const HeatMap& map, SvgStyle style = SvgStyle::standalone);

/// CSS for heat maps inside a page that has `plot_style_sheet()`: the colours, for light and dark.
std::string heat_map_style_sheet();

}  // namespace bunchtrain::plot
