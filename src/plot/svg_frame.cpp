// SPDX-License-Identifier: Apache-2.0
#include "svg_frame.hpp"

#include <fmt/core.h>

#include "bunchtrain/plot/detail/markup.hpp"

namespace bunchtrain::plot {

std::string svg_text(double x, double y, std::string_view anchor, std::string_view content,
                     std::string_view extra) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>", x, y, anchor, extra,
                     format_label(content));
}

std::string open_svg(int width, int height, std::string_view description, SvgStyle style,
                     std::string_view style_sheet) {
  std::string svg = fmt::format(
      "<svg class=\"bt-plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" role=\"img\" "
      "aria-label=\"{2}\">",
      width, height, escape_markup(description));
  if (style == SvgStyle::standalone) {
    svg += fmt::format("<style>{}</style><rect class=\"bt-paper\" width=\"{}\" height=\"{}\"/>", style_sheet,
                       width, height);
  }
  return svg;
}

std::string draw_frame_labels(const Box& frame, const FrameLabels& labels) {
  std::string result;
  if (!labels.x.empty()) result += svg_text(frame.right, frame.bottom + labels.x_baseline, "end", labels.x);
  if (!labels.y.empty()) {
    constexpr double kBaseline = 13;
    result += svg_text(kBaseline, frame.top, "end", labels.y,
                       fmt::format(" transform=\"rotate(-90 {:.1f} {:.1f})\"", kBaseline, frame.top));
  }
  if (!labels.title.empty()) result += svg_text(frame.left, 20, "start", labels.title, " class=\"bt-title\"");
  return result;
}

}  // namespace bunchtrain::plot
