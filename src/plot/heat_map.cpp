// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/plot/heat_map.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "axis_map.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/plot/detail/markup.hpp"
#include "color_scale.hpp"
#include "svg_frame.hpp"

namespace bunchtrain::plot {
namespace {

constexpr double kTick = 4;
constexpr double kBarWidth = 12, kBarGap = 10;
constexpr int kBlank = -1;
constexpr int kDarkFrom = kColorLevels / 2;  ///< from here a sequential colour is nearer to ink than to paper

void check_names(const std::vector<std::string>& names, std::size_t count, std::string_view what) {
  if (names.empty() || names.size() == count) return;
  throw ConfigError(fmt::format("a heat map with {} {}s has {} {} names; give one for each, or none", count,
                                what, names.size(), what));
}

Range value_range(const HeatMap& map) {
  Range range;
  for (const auto& row : map.values) {
    for (double value : row) range.add(value, map.scale);
  }
  return range;
}

// The axis along the colour bar.
AxisMap make_color_axis(const HeatMap& map) {
  const Range range = value_range(map);
  Axis axis{.scale = map.scale, .min = map.min, .max = map.max};
  if (map.diverging) {
    double reach = range.empty ? 1 : std::max(std::abs(range.min), std::abs(range.max));
    if (map.min || map.max) reach = std::max(std::abs(map.min.value_or(0)), std::abs(map.max.value_or(0)));
    if (!(reach > 0)) reach = 1;
    axis.min = -reach;
    axis.max = reach;
  }
  return AxisMap(axis, range, false, 0);
}

// A row or column of cells as an axis: whole numbers at the middle of the cells.
AxisMap make_cell_axis(std::size_t cells) {
  const double count = static_cast<double>(std::max<std::size_t>(cells, 1));
  return AxisMap({.min = -0.5, .max = count - 0.5, .integers = true}, {}, false, 0);
}

double widest(const std::vector<std::string>& texts) {
  double width = 0;
  for (const std::string& text : texts) width = std::max(width, estimate_width(text, kFontSize));
  return width;
}

std::vector<std::string> labels_of(const AxisMap& axis) {
  std::vector<std::string> labels;
  for (const Tick& tick : axis.ticks()) labels.push_back(tick.label);
  return labels;
}

// Labelled ticks at the middle of every cell.
std::vector<Tick> name_cells(const std::vector<std::string>& names) {
  std::vector<Tick> ticks;
  for (std::size_t i = 0; i < names.size(); ++i) ticks.push_back({static_cast<double>(i), names[i]});
  return ticks;
}

// An inner <svg> whose unit is one cell, so that whole numbers say where a cell is.
std::string open_cells(const Box& box, std::size_t columns, std::size_t rows) {
  return fmt::format(
      "<svg x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" viewBox=\"0 0 {} {}\" "
      "preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\">",
      box.left, box.top, box.width(), box.height(), columns, rows);
}

class Drawing {
 public:
  explicit Drawing(const HeatMap& map)
      : map_(map),
        columns_(map.values.empty() ? 0 : map.values.front().size()),
        scale_(map.diverging ? ColorScale::diverging : ColorScale::sequential),
        color_(make_color_axis(map)),
        x_(make_cell_axis(columns_)),
        y_(make_cell_axis(map.values.size())) {
    color_.set_pixels(0, kColorLevels);
    place();
  }

  std::string render(SvgStyle style) const;

 private:
  void place();
  bool is_empty() const { return map_.values.empty() || columns_ == 0; }
  int level(double value) const;
  std::string description() const;
  std::string draw_cells() const;
  std::string draw_values() const;
  std::string format_value(double value) const;
  double value_size() const;
  std::string draw_axes() const;
  std::string draw_color_bar() const;

  const HeatMap& map_;
  std::size_t columns_;
  ColorScale scale_;
  AxisMap color_, x_, y_;
  std::vector<Tick> x_ticks_, y_ticks_;
  bool columns_upright_ = false;  ///< names too wide to stand beside each other
  double names_height_ = 0;
  Box frame_{}, bar_{};
};

void Drawing::place() {
  x_ticks_ = map_.column_names.empty() ? x_.ticks() : name_cells(map_.column_names);
  y_ticks_ = map_.row_names.empty() ? y_.ticks() : name_cells(map_.row_names);
  const double left_labels = widest(map_.row_names.empty() ? labels_of(y_) : map_.row_names);
  const double bar_labels = widest(labels_of(color_));
  const double factor = color_.common_factor().empty() ? 0 : 16;
  frame_ = {.left = left_labels + (map_.y_label.empty() ? 12 : 32),
            .top = 10 + (map_.title.empty() ? 0 : 20) + factor,
            .right = map_.width - kBarGap - kBarWidth - bar_labels - 14,
            .bottom = 0};
  const double name_width = widest(map_.column_names);  // 0 without names
  const double cell_width = frame_.width() / static_cast<double>(std::max<std::size_t>(columns_, 1));
  columns_upright_ = name_width > 0 && name_width + 4 > cell_width;
  names_height_ = columns_upright_ ? name_width + 8 : 20;
  frame_.bottom = map_.height - names_height_ - (map_.x_label.empty() ? 4 : 20);
  bar_ = {.left = frame_.right + kBarGap,
          .top = frame_.top,
          .right = frame_.right + kBarGap + kBarWidth,
          .bottom = frame_.bottom};
  x_.set_pixels(frame_.left, frame_.right);
  y_.set_pixels(frame_.bottom, frame_.top);
}

int Drawing::level(double value) const {
  if (!color_.has_place(value)) return kBlank;
  return std::clamp(static_cast<int>(color_(value)), 0, kColorLevels - 1);
}

// One path per colour; neighbours of one colour in a row are one rectangle. A picture of 51 x 51 cells stays
// below 40 kB, scales without blur and follows the page's colours, which an embedded PNG could not.
std::string Drawing::draw_cells() const {
  std::array<std::string, kColorLevels> paths;
  const std::size_t rows = map_.values.size();
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns_;) {
      const int color = level(map_.values[row][column]);
      const std::size_t begin = column;
      while (column < columns_ && level(map_.values[row][column]) == color) ++column;
      if (color == kBlank) continue;
      const std::size_t length = column - begin;
      paths[color] += fmt::format("M{} {}h{}v1h-{}", begin, rows - 1 - row, length, length);
    }
  }
  std::string cells = open_cells(frame_, columns_, rows);
  for (int color = 0; color < kColorLevels; ++color) {
    if (!paths[color].empty())
      cells += fmt::format("<path class=\"{}\" d=\"{}\"/>", color_class(scale_, color), paths[color]);
  }
  return cells + "</svg>";
}

std::string Drawing::format_value(double value) const {
  return map_.diverging ? fmt::format("{:.2f}", value) : fmt::format("{:.3g}", value);
}

// One size for all numbers, so that none looks more important than another.
double Drawing::value_size() const {
  double widest = 0;
  for (const auto& row : map_.values) {
    for (double value : row) {
      if (level(value) != kBlank) widest = std::max(widest, estimate_width(format_value(value), 1));
    }
  }
  const double width = frame_.width() / static_cast<double>(columns_);
  const double height = frame_.height() / static_cast<double>(map_.values.size());
  return std::min({kFontSize, 0.7 * height, 0.9 * width / std::max(widest, 1e-9)});
}

std::string Drawing::draw_values() const {
  const double size = value_size();
  std::string values;
  for (std::size_t row = 0; row < map_.values.size(); ++row) {
    for (std::size_t column = 0; column < columns_; ++column) {
      const double value = map_.values[row][column];
      const int color = level(value);
      if (color == kBlank) continue;
      const int strength = map_.diverging ? 2 * std::abs(color - kColorLevels / 2) : color;
      values += svg_text(x_(static_cast<double>(column)), y_(static_cast<double>(row)) + 0.36 * size,
                         "middle", format_value(value), strength > kDarkFrom ? " class=\"bt-over\"" : "");
    }
  }
  return fmt::format("<g class=\"bt-values\" style=\"--bt-size:{:.1f}px\">{}</g>", size, values);
}

// Ticks point outwards, where no cell hides them.
std::string Drawing::draw_axes() const {
  std::string ticks, labels;
  for (const Tick& tick : x_ticks_) {
    if (tick.label.empty()) continue;
    const double at = x_(tick.value), below = frame_.bottom + kTick + 12;
    ticks += fmt::format("M{:.1f} {:.1f}v{}", at, frame_.bottom, kTick);
    if (columns_upright_) {
      const double baseline = at + 4.5, end = frame_.bottom + kTick + 3;
      labels += svg_text(baseline, end, "end", tick.label,
                         fmt::format(" transform=\"rotate(-90 {:.1f} {:.1f})\"", baseline, end));
    } else {
      labels += svg_text(at, below, "middle", tick.label);
    }
  }
  for (const Tick& tick : y_ticks_) {
    if (tick.label.empty()) continue;
    const double at = y_(tick.value);
    ticks += fmt::format("M{:.1f} {:.1f}h-{}", frame_.left, at, kTick);
    labels += svg_text(frame_.left - kTick - 3, at + 4.5, "end", tick.label);
  }
  return fmt::format("<path class=\"bt-frame\" d=\"M{:.1f} {:.1f}H{:.1f}V{:.1f}H{:.1f}Z{}\"/>", frame_.left,
                     frame_.top, frame_.right, frame_.bottom, frame_.left, ticks) +
         labels;
}

std::string Drawing::draw_color_bar() const {
  std::string bar = open_cells(bar_, 1, kColorLevels);
  for (int color = 0; color < kColorLevels; ++color) {
    bar += fmt::format("<path class=\"{}\" d=\"M0 {}h1v1h-1\"/>", color_class(scale_, color),
                       kColorLevels - 1 - color);
  }
  bar += "</svg>";
  std::string ticks, labels;
  AxisMap axis = color_;
  axis.set_pixels(bar_.bottom, bar_.top);
  for (const Tick& tick : axis.ticks()) {
    if (tick.label.empty()) continue;
    const double at = axis(tick.value);
    ticks += fmt::format("M{:.1f} {:.1f}h{}", bar_.right, at, kTick);
    labels += svg_text(bar_.right + kTick + 3, at + 4.5, "start", tick.label);
  }
  if (!axis.common_factor().empty())
    labels += svg_text(map_.width - 4.0, bar_.top - 6, "end", axis.common_factor());
  return bar +
         fmt::format("<path class=\"bt-frame\" d=\"M{:.1f} {:.1f}H{:.1f}V{:.1f}H{:.1f}Z{}\"/>", bar_.left,
                     bar_.top, bar_.right, bar_.bottom, bar_.left, ticks) +
         labels;
}

std::string Drawing::description() const {
  const Range range = value_range(map_);
  std::string text = map_.title.empty() ? std::string("Heat map") : map_.title;
  if (!map_.x_label.empty() && !map_.y_label.empty())
    text += fmt::format(": {} against {}", map_.y_label, map_.x_label);
  if (!range.empty) text += fmt::format("; values from {:.3g} to {:.3g}", range.min, range.max);
  return text;
}

std::string Drawing::render(SvgStyle style) const {
  std::string svg =
      open_svg(map_.width, map_.height, description(), style,
               style == SvgStyle::standalone ? plot_style_sheet() + heat_map_style_sheet() : "");
  const FrameLabels labels{
      .x = map_.x_label, .y = map_.y_label, .title = map_.title, .x_baseline = names_height_ + 14};
  if (is_empty()) {
    svg += svg_text((frame_.left + frame_.right) / 2, (frame_.top + frame_.bottom) / 2, "middle", "no data");
  } else {
    svg += draw_cells() + draw_color_bar();
    if (map_.print_values) svg += draw_values();
  }
  return svg + draw_axes() + draw_frame_labels(frame_, labels) + "</svg>";
}

}  // namespace

void validate(const HeatMap& map) {
  const std::size_t columns = map.values.empty() ? 0 : map.values.front().size();
  for (std::size_t row = 0; row < map.values.size(); ++row) {
    if (map.values[row].size() == columns) continue;
    throw ConfigError(fmt::format("heat map \"{}\": row {} has {} values, row 0 has {}; give as many in each",
                                  map.title, row, map.values[row].size(), columns));
  }
  check_names(map.row_names, map.values.size(), "row");
  check_names(map.column_names, columns, "column");
  if (map.scale == Scale::log && (map.min.value_or(1) <= 0 || map.max.value_or(1) <= 0)) {
    throw ConfigError(fmt::format("heat map \"{}\": limits of a log scale must be positive", map.title));
  }
  if (map.diverging && map.scale == Scale::log) {
    throw ConfigError(fmt::format(
        "heat map \"{}\": a diverging scale has its middle at zero, which a log scale lacks; choose one",
        map.title));
  }
}

std::string render_svg(const HeatMap& map, SvgStyle style) {
  validate(map);
  return Drawing(map).render(style);
}

std::string heat_map_style_sheet() {
  return color_style_sheet() +
         ".bt-plot .bt-over{fill:var(--bt-paper)}.bt-plot .bt-values text{font-size:var(--bt-size)}\n";
}

}  // namespace bunchtrain::plot
