// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What plots and heat maps have in common: the element around them, texts, labels at the axes.

#include <string>
#include <string_view>

#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::plot {

inline constexpr double kFontSize = 13;  ///< of `plot_style_sheet()`

/// A rectangle in pixels.
struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;
  double width() const noexcept { return right - left; }
  double height() const noexcept { return bottom - top; }
};

/// A <text> whose content may hold the marks of `format_label`. `extra`: further attributes.
std::string svg_text(double x, double y, std::string_view anchor, std::string_view content,
                     std::string_view extra = {});

/// The beginning of a drawing with its accessible name; a standalone one gets `style_sheet` and paper.
std::string open_svg(int width, int height, std::string_view description, SvgStyle style,
                     std::string_view style_sheet);

/// Labels at the ends of the axes, as particle physicists draw them, and the title above.
struct FrameLabels {
  std::string x = {};
  std::string y = {};
  std::string title = {};
  double x_baseline = 37;  ///< pixels below the frame
};
std::string draw_frame_labels(const Box& frame, const FrameLabels& labels);

}  // namespace bunchtrain::plot
