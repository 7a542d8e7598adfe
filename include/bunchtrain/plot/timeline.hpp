// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Pictures of who does what when: lanes of bars along a time axis.

#include <string>
#include <vector>

#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::plot {

/// From `begin` to `end`, in the colour of a kind.
struct TimelineBar {
  double begin = 0, end = 0;
  std::size_t kind = 0;   ///< index into `Timeline::kinds`
  std::string text = {};  ///< written on it where there is room
};

struct TimelineLane {
  std::string name = {};
  std::vector<TimelineBar> bars = {};
};

/// Lanes from top to bottom.
struct Timeline {
  std::string title = {};
  std::string x_label = {};             ///< with unit: "Time [ms]"
  std::vector<std::string> kinds = {};  ///< for the legend; `kPaletteSize` at most
  std::vector<TimelineLane> lanes = {};
  int width = 900;
};

/// @throws ConfigError for a bar that ends before it begins or whose times are not finite, is of no kind, or for too
/// many kinds.
void validate(const Timeline& timeline);

/// An svg element as high as its lanes need. @throws ConfigError as `validate`.
std::string render_svg(const Timeline& timeline, SvgStyle style = SvgStyle::standalone);

/// CSS for timelines inside a page that has `plot_style_sheet()`.
std::string timeline_style_sheet();

}  // namespace bunchtrain::plot
