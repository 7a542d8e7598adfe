// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/plot/svg_plot.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "axis_map.hpp"
#include "bunchtrain/plot/detail/markup.hpp"
#include "svg_frame.hpp"
#include "svg_series.hpp"

namespace bunchtrain::plot {
namespace {

constexpr double kLegendRow = 19;
constexpr double kSwatch = 22;
constexpr double kGap = 8;
constexpr double kMajorTick = 7, kMinorTick = 3.5;

bool contains(const Box& box, Pixel p) {
  return p.x >= box.left && p.x <= box.right && p.y >= box.top && p.y <= box.bottom;
}

struct LegendEntry {
  std::string label;
  const DrawnSeries* drawn;
};

std::vector<LegendEntry> make_legend(const std::vector<DrawnSeries>& series) {
  std::vector<LegendEntry> entries;
  for (const DrawnSeries& drawn : series) {
    if (!drawn.series->label.empty()) entries.push_back({drawn.series->label, &drawn});
  }
  // The topmost bar comes first, as the eye meets it.
  if (!entries.empty() && entries.front().drawn->series->mark == Mark::bars)
    std::reverse(entries.begin(), entries.end());
  return entries;
}

double entry_width(const LegendEntry& entry) {
  return kSwatch + kGap + estimate_width(entry.label, kFontSize);
}

std::string_view swatch_style(const Series& series) {
  if (series.dashed) return " bt-dash";
  return series.faint ? " bt-faint" : "";
}

std::string draw_swatch(const LegendEntry& entry, double x, double y) {
  const Series& series = *entry.drawn->series;
  const std::string group = fmt::format("<g class=\"bt-c{}\">", entry.drawn->color);
  const auto rect = [&](std::string_view classes) {
    return fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"11\"/>", classes,
                       x, y - 5.5, kSwatch);
  };
  const std::string stroke =
      fmt::format("<path class=\"bt-line{}\" d=\"M{:.1f} {:.1f}h{}\"/>", swatch_style(series), x, y, kSwatch);
  const std::string dot =
      fmt::format("<circle class=\"bt-dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.6\"/>", x + kSwatch / 2, y);
  switch (series.mark) {
    case Mark::bars:
      return group + rect("bt-bar") + "</g>";
    case Mark::band:
      return group + rect("bt-fill") + "</g>";
    case Mark::points:
      return group + dot + "</g>";
    case Mark::steps:
      return group +
             (series.filled ? rect("bt-fill") + rect(series.dashed ? "bt-line bt-dash" : "bt-line")
                            : stroke) +
             "</g>";
    case Mark::line:
      return group + stroke + "</g>";
  }
  return {};
}

std::string draw_entry(const LegendEntry& entry, double x, double y) {
  return draw_swatch(entry, x, y) + svg_text(x + kSwatch + kGap, y + 4.5, "start", entry.label);
}

// A drawing in the making: first the axes, then the room they need, then everything at its place.
class Drawing {
 public:
  explicit Drawing(const Plot& plot)
      : plot_(plot),
        series_(prepare_series(plot)),
        legend_(make_legend(series_)),
        x_(plot.x, x_range(series_, plot.x.scale), false, has_markers() ? 0.025 : 0.0),
        y_(plot.y, y_range(series_, plot.y.scale), needs_zero(series_), 0.06) {
    place_frame(0);
    if (!legend_.empty() && !place_legend_inside()) place_legend_above();
  }

  std::string render(SvgStyle style) const;

 private:
  // Markers at the ends of the data must not be cut by the frame.
  bool has_markers() const {
    return std::any_of(series_.begin(), series_.end(),
                       [](const DrawnSeries& d) { return shows_markers(*d.series); });
  }
  void place_frame(double legend_height);
  bool place_legend_inside();
  void place_legend_above();
  std::string draw_frame() const;
  std::string draw_axis_labels() const;

  const Plot& plot_;
  std::vector<DrawnSeries> series_;
  std::vector<LegendEntry> legend_;
  AxisMap x_, y_;
  Box frame_{};
  std::vector<Pixel> legend_places_;
};

void Drawing::place_frame(double legend_height) {
  double widest = 0;
  for (const Tick& tick : y_.ticks()) widest = std::max(widest, estimate_width(tick.label, kFontSize));
  const double title = plot_.title.empty() ? 0 : 26;
  const double factor = y_.common_factor().empty() ? 0 : 16;
  frame_ = {.left = widest + (plot_.y.label.empty() ? 14 : 36),
            .top = 10 + title + std::max(factor, legend_height),
            .right = plot_.width - 16.0,
            .bottom = plot_.height - (plot_.x.label.empty() ? 26.0 : 46.0)};
  x_.set_pixels(frame_.left, frame_.right);
  y_.set_pixels(frame_.bottom, frame_.top);
}

// Inside the frame in the corner that hides no data; false if every corner would.
bool Drawing::place_legend_inside() {
  double width = 0;
  for (const LegendEntry& entry : legend_) width = std::max(width, entry_width(entry));
  const double height = kLegendRow * static_cast<double>(legend_.size());
  constexpr double kMargin = 14;
  if (width + 2 * kMargin > frame_.width() || height + 2 * kMargin > frame_.height()) return false;

  std::vector<Pixel> ink;
  for (const DrawnSeries& drawn : series_) {
    const auto trace = trace_series(drawn, x_, y_);
    ink.insert(ink.end(), trace.begin(), trace.end());
  }
  const double left = frame_.left + kMargin, right = frame_.right - kMargin - width;
  const double top = frame_.top + kMargin, bottom = frame_.bottom - kMargin - height;
  const std::array<Pixel, 5> corners{
      {{right, top}, {left, top}, {right, bottom}, {left, bottom}, {(left + right) / 2, top}}};
  for (const Pixel corner : corners) {
    const Box box{corner.x - 4, corner.y - 4, corner.x + width + 8, corner.y + height + 2};
    if (std::any_of(ink.begin(), ink.end(), [&](Pixel p) { return contains(box, p); })) continue;
    for (std::size_t i = 0; i < legend_.size(); ++i) {
      legend_places_.push_back({corner.x, corner.y + kLegendRow * (static_cast<double>(i) + 0.5)});
    }
    return true;
  }
  return false;
}

void Drawing::place_legend_above() {
  constexpr double kBetween = 20;
  const double top = plot_.title.empty() ? 4 : 30;
  double column = 0, row = 0;
  std::vector<Pixel> places;
  for (const LegendEntry& entry : legend_) {
    const double width = entry_width(entry);
    if (column > 0 && column + width > frame_.width()) column = 0, row += kLegendRow;
    places.push_back({column, top + row + kLegendRow / 2});
    column += width + kBetween;
  }
  place_frame(row + kLegendRow + 4 + (y_.common_factor().empty() ? 0 : 14));
  for (Pixel place : places) legend_places_.push_back({frame_.left + place.x, place.y});
}

std::string Drawing::draw_frame() const {
  std::string ticks, labels;
  for (const Tick& tick : x_.ticks()) {
    const double length = tick.label.empty() ? kMinorTick : kMajorTick, column = x_(tick.value);
    ticks +=
        fmt::format("M{0:.1f} {1:.1f}v{2}M{0:.1f} {3:.1f}v-{2}", column, frame_.top, length, frame_.bottom);
    if (!tick.label.empty()) labels += svg_text(column, frame_.bottom + 17, "middle", tick.label);
  }
  for (const Tick& tick : y_.ticks()) {
    const double length = tick.label.empty() ? kMinorTick : kMajorTick, row = y_(tick.value);
    ticks += fmt::format("M{0:.1f} {1:.1f}h{2}M{3:.1f} {1:.1f}h-{2}", frame_.left, row, length, frame_.right);
    if (!tick.label.empty()) labels += svg_text(frame_.left - 7, row + 4.5, "end", tick.label);
  }
  return fmt::format(
             "<rect class=\"bt-frame\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>",
             frame_.left, frame_.top, frame_.width(), frame_.height()) +
         fmt::format("<path class=\"bt-frame\" d=\"{}\"/>", ticks) + labels;
}

std::string Drawing::draw_axis_labels() const {
  FrameLabels labels{.x = plot_.x.label, .y = plot_.y.label, .title = plot_.title};
  if (!labels.x.empty() && !x_.common_factor().empty()) labels.x += "  (" + x_.common_factor() + ")";
  std::string result;
  if (!y_.common_factor().empty())
    result += svg_text(frame_.left, frame_.top - 6, "start", y_.common_factor());
  return result + draw_frame_labels(frame_, labels);
}

std::string make_description(const Plot& plot) {
  if (!plot.description.empty()) return plot.description;
  std::string result =
      plot.title.empty() ? fmt::format("{} against {}", plot.y.label, plot.x.label) : plot.title;
  std::string_view separator = ": ";
  for (const Series& series : plot.series) {
    if (series.label.empty()) continue;
    result.append(separator).append(series.label);
    separator = ", ";
  }
  return result;
}

/// What a page's script needs to tell values from pixels.
std::string limits_of(const AxisMap& axis) {
  return fmt::format("{:.10g} {:.10g} {}", axis.min(), axis.max(),
                     axis.scale() == Scale::log ? "log" : "linear");
}

std::string Drawing::render(SvgStyle style) const {
  std::string svg = open_svg(plot_.width, plot_.height, make_description(plot_), style, plot_style_sheet());
  // An inner <svg> cuts the data off at the frame and needs no name, unlike a clip path.
  svg += fmt::format(
      "<svg class=\"bt-data\" data-x=\"{4}\" data-y=\"{5}\" x=\"{0:.1f}\" y=\"{1:.1f}\" width=\"{2:.1f}\" "
      "height=\"{3:.1f}\" viewBox=\"{0:.1f} {1:.1f} {2:.1f} {3:.1f}\">",
      frame_.left, frame_.top, frame_.width(), frame_.height(), limits_of(x_), limits_of(y_));
  for (const DrawnSeries& drawn : series_)
    svg += fmt::format("<g class=\"bt-c{}\" data-name=\"{}\">{}</g>", drawn.color,
                       escape_markup(plain_label(drawn.series->label)), draw_series(drawn, x_, y_));
  svg += "</svg>" + draw_frame() + draw_axis_labels();
  for (std::size_t i = 0; i < legend_.size(); ++i)
    svg += draw_entry(legend_[i], legend_places_[i].x, legend_places_[i].y);
  if (series_.empty())
    svg += svg_text((frame_.left + frame_.right) / 2, (frame_.top + frame_.bottom) / 2, "middle", "no data");
  return svg + "</svg>";
}

}  // namespace

void validate(const Plot& plot) { prepare_series(plot); }

std::string render_svg(const Plot& plot, SvgStyle style) { return Drawing(plot).render(style); }

// Every colour has a contrast of at least 4 to 1 with its paper; neighbours differ in lightness
// for colour-blind readers.
std::string plot_style_sheet() {
  return R"css(
.bt-plot{--bt-ink:#20242b;--bt-paper:#fff;--bt-0:#1f5fbf;--bt-1:#c4500c;--bt-2:#08795c;--bt-3:#8c3f9c;--bt-4:#8a6a00;--bt-5:#b02a5b;--bt-6:#4f5b66;--bt-7:#0b7fa5}
@media (prefers-color-scheme:dark){.bt-plot{--bt-ink:#d9dde3;--bt-paper:#15181d;--bt-0:#74aef8;--bt-1:#ff9f5c;--bt-2:#4fcfa3;--bt-3:#d7a3e6;--bt-4:#e3c04d;--bt-5:#f78bb0;--bt-6:#a9b4c0;--bt-7:#6fd0ee}}
.bt-plot text{fill:var(--bt-ink);font:13px system-ui,-apple-system,"Segoe UI","Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
.bt-plot .bt-title{font-weight:600;font-size:15px}
.bt-plot .bt-paper{fill:var(--bt-paper)}
.bt-plot .bt-frame{fill:none;stroke:var(--bt-ink);stroke-width:1}
.bt-plot .bt-line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}
.bt-plot .bt-thin{stroke-width:1.4}
.bt-plot .bt-faint{stroke-width:1;stroke-opacity:.55}
.bt-plot .bt-dash{stroke-dasharray:6 4}
.bt-plot .bt-fill{fill:var(--c);fill-opacity:.18;stroke:none}
.bt-plot .bt-bar,.bt-plot .bt-dot{fill:var(--c);stroke:none}
.bt-c0{--c:var(--bt-0)}.bt-c1{--c:var(--bt-1)}.bt-c2{--c:var(--bt-2)}.bt-c3{--c:var(--bt-3)}.bt-c4{--c:var(--bt-4)}.bt-c5{--c:var(--bt-5)}.bt-c6{--c:var(--bt-6)}.bt-c7{--c:var(--bt-7)}
)css";
}

}  // namespace bunchtrain::plot
