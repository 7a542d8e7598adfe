// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Plots as SVG with axes that a physicist would put on a slide.

#include <optional>
#include <string>
#include <vector>

namespace bunchtrain::plot {

enum class Scale { linear, log };

/// One axis. Limits that are not given come from the data; a log axis ignores values that are not positive.
struct Axis {
  std::string label = {};  ///< with unit: "Jet p_T [GeV]"
  Scale scale = Scale::linear;
  std::optional<double> min = {};
  std::optional<double> max = {};
  bool integers = false;  ///< ticks at whole numbers only (epochs)
};

/// How a series is drawn.
enum class Mark {
  line,
  points,  ///< with vertical error bars where `error` is given
  steps,   ///< a histogram: x holds the n + 1 bin edges, y the n contents
  bars,    ///< centred on x, stacked on the bars series before it, which must have the same x
  band,    ///< y - error to y + error
};

/// Colours that `Series::color` chooses from.
inline constexpr int kPaletteSize = 8;

/// Values that are not finite interrupt a line.
struct Series {
  std::string label = {};  ///< for the legend; none if empty
  Mark mark = Mark::line;
  std::vector<double> x = {};
  std::vector<double> y = {};
  std::vector<double> error = {};
  int color = -1;  ///< palette index 0-7; -1: by the order in the plot
  bool dashed = false;
  bool filled = false;  ///< steps only: a light fill below
  bool faint = false;   ///< a thin, pale line, for what is only background
};

/// A plot. All series share both axes.
struct Plot {
  std::string title = {};
  Axis x = {};
  Axis y = {};
  std::vector<Series> series = {};
  std::string description = {};  ///< for screen readers; made from title and labels if empty
  int width = 640;
  int height = 400;
  std::string caption = {};  ///< a line below it, on a page; not part of the picture
};

/// Where the plot's colours come from.
enum class SvgStyle {
  standalone,  ///< a file of its own: carries light and dark colours (`prefers-color-scheme`)
  inline_html  ///< inside a page that has `plot_style_sheet()`
};

/// @throws ConfigError for lengths that do not fit.
void validate(const Plot& plot);

/// An svg element. Only series with data are drawn; a plot without any says "no data".
/// @throws ConfigError if the lengths of a series do not fit its mark.
std::string render_svg(const Plot& plot, SvgStyle style = SvgStyle::standalone);

/// CSS for plots inside a page: colours as variables, for light and dark.
std::string plot_style_sheet();

/// About `count` round positions inside [min, max]: 1, 2, 2.5 or 5 times a power of ten apart.
std::vector<double> make_ticks(double min, double max, int count);
/// Powers of ten inside [min, max].
std::vector<double> make_log_ticks(double min, double max);

}  // namespace bunchtrain::plot
