// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Pictures of numbers on a grid: shower slices, correlation matrices.

#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/report/svg_plot.hpp"

namespace bunchtrain::report {

/// A grid of numbers drawn as colours. Row 0 is at the bottom.
struct HeatMap {
  std::string title = {};
  std::string x_label = {};
  std::string y_label = {};
  std::vector<std::vector<double>> values = {};  ///< [row][column]; NaN is left blank
  Scale scale = Scale::linear;                   ///< log: values that are not positive are left blank
  std::optional<double> min = {};
  std::optional<double> max = {};
  bool diverging = false;                   ///< two colours around 0 (correlations, differences)
  std::vector<std::string> row_names = {};  ///< instead of numbers on the axes
  std::vector<std::string> column_names = {};
  bool print_values = false;
  int width = 300;
  int height = 260;
};

/// An <svg> element with a colour bar. @throws ConfigError if rows differ in length.
std::string render_svg(const HeatMap& map, SvgStyle style = SvgStyle::standalone);

}  // namespace bunchtrain::report
