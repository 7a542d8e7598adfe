// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/plot/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "axis_map.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/plot/detail/markup.hpp"
#include "svg_frame.hpp"

namespace bunchtrain::plot {
namespace {

constexpr double kLaneHeight = 26, kBarHeight = 20, kLegendRow = 22, kBarFontSize = 11, kBelow = 46;

AxisMap time_axis(const Timeline& timeline) {
  Range range;
  for (const TimelineLane& lane : timeline.lanes)
    for (const TimelineBar& bar : lane.bars) {
      range.add(bar.begin, Scale::linear);
      range.add(bar.end, Scale::linear);
    }
  return {Axis{.label = timeline.x_label}, range, false, 0};
}

Box frame_of(const Timeline& timeline) {
  double longest = 0;
  for (const TimelineLane& lane : timeline.lanes)
    longest = std::max(longest, estimate_width(lane.name, kFontSize));
  const double top = (timeline.title.empty() ? 4 : 30) + kLegendRow;
  return {.left = 14 + longest,
          .top = top,
          .right = timeline.width - 14.0,
          .bottom = top + kLaneHeight * static_cast<double>(std::max<std::size_t>(timeline.lanes.size(), 1))};
}

std::string draw_bar(const TimelineBar& bar, const AxisMap& x, double middle) {
  const double left = x(bar.begin), width = x(bar.end) - left, top = middle - kBarHeight / 2;
  std::string drawn = fmt::format(
      "<rect class=\"bt-span bt-c{}\" x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.0f}\"/>",
      bar.kind, left, top, width, kBarHeight);
  if (!bar.text.empty() && estimate_width(bar.text, kBarFontSize) + 2 <= width)
    drawn += svg_text(left + width / 2, middle + 4, "middle", bar.text, " class=\"bt-on\"");
  return drawn;
}

std::string draw_lanes(const Timeline& timeline, const AxisMap& x, const Box& frame) {
  std::string drawn;
  double middle = frame.top + kLaneHeight / 2;
  for (const TimelineLane& lane : timeline.lanes) {
    drawn += svg_text(frame.left - 7, middle + 4.5, "end", lane.name);
    for (const TimelineBar& bar : lane.bars) drawn += draw_bar(bar, x, middle);
    middle += kLaneHeight;
  }
  return drawn;
}

std::string draw_axis(const AxisMap& x, const Box& frame) {
  std::string ticks, labels;
  for (const Tick& tick : x.ticks()) {
    ticks += fmt::format("M{:.1f} {:.1f}v-{}", x(tick.value), frame.bottom, tick.label.empty() ? 3 : 6);
    if (!tick.label.empty()) labels += svg_text(x(tick.value), frame.bottom + 17, "middle", tick.label);
  }
  return fmt::format("<path class=\"bt-frame\" d=\"M{:.1f} {:.1f}H{:.1f}{}\"/>", frame.left, frame.bottom,
                     frame.right, ticks) +
         labels;
}

std::string draw_legend(const Timeline& timeline, const Box& frame) {
  std::string drawn;
  double left = frame.left;
  const double middle = frame.top - kLegendRow / 2 - 2;
  for (std::size_t kind = 0; kind < timeline.kinds.size(); ++kind) {
    drawn +=
        fmt::format("<rect class=\"bt-span bt-c{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"12\"/>",
                    kind, left, middle - 6);
    drawn += svg_text(left + 17, middle + 4.5, "start", timeline.kinds[kind]);
    left += 17 + estimate_width(timeline.kinds[kind], kFontSize) + 18;
  }
  return drawn;
}

[[noreturn]] void refuse(const Timeline& timeline, const TimelineLane& lane, std::string_view what) {
  throw ConfigError(fmt::format("timeline \"{}\", lane \"{}\": {}", timeline.title, lane.name, what));
}

}  // namespace

void validate(const Timeline& timeline) {
  if (timeline.kinds.size() > static_cast<std::size_t>(kPaletteSize))
    throw ConfigError(fmt::format("timeline \"{}\": {} kinds, but there are {} colours; join some",
                                  timeline.title, timeline.kinds.size(), kPaletteSize));
  for (const TimelineLane& lane : timeline.lanes)
    for (const TimelineBar& bar : lane.bars) {
      if (!std::isfinite(bar.begin) || !std::isfinite(bar.end) || bar.end < bar.begin)
        refuse(timeline, lane,
               fmt::format("a bar from {} to {}; give finite times in order", bar.begin, bar.end));
      if (bar.kind >= timeline.kinds.size())
        refuse(timeline, lane, fmt::format("a bar of kind {}; name {} kinds", bar.kind, bar.kind + 1));
    }
}

std::string render_svg(const Timeline& timeline, SvgStyle style) {
  validate(timeline);
  const Box frame = frame_of(timeline);
  AxisMap x = time_axis(timeline);
  x.set_pixels(frame.left, frame.right);
  const std::string description = fmt::format(
      "{}: {} lanes", timeline.title.empty() ? "Timeline" : timeline.title, timeline.lanes.size());
  FrameLabels labels{.x = timeline.x_label, .title = timeline.title};
  if (!labels.x.empty() && !x.common_factor().empty()) labels.x += "  (" + x.common_factor() + ")";
  return open_svg(timeline.width, static_cast<int>(frame.bottom + kBelow), description, style,
                  style == SvgStyle::standalone ? plot_style_sheet() + timeline_style_sheet() : "") +
         draw_legend(timeline, frame) + draw_lanes(timeline, x, frame) + draw_axis(x, frame) +
         draw_frame_labels(frame, labels) + "</svg>";
}

std::string timeline_style_sheet() {
  return ".bt-plot .bt-span{fill:var(--c);stroke:var(--bt-paper);stroke-width:1}\n"
         ".bt-plot .bt-on{fill:var(--bt-paper);font-size:11px}\n";
}

}  // namespace bunchtrain::plot
