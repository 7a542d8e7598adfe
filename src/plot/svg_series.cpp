// SPDX-License-Identifier: Apache-2.0
#include "svg_series.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::plot {
namespace {

constexpr std::size_t kMarkersUpTo = 25;  ///< a line with few points shows them

void check_lengths(const Series& series) {
  const std::size_t expected = series.mark == Mark::steps ? series.y.size() + 1 : series.y.size();
  if (series.x.size() != expected) {
    throw ConfigError(fmt::format(
        "series \"{}\": {} x values do not fit {} y values; {}", series.label, series.x.size(),
        series.y.size(),
        series.mark == Mark::steps ? "steps need n + 1 edges for n contents" : "give as many of each"));
  }
  if ((!series.error.empty() || series.mark == Mark::band) && series.error.size() != series.y.size()) {
    throw ConfigError(fmt::format("series \"{}\": {} errors do not fit {} y values", series.label,
                                  series.error.size(), series.y.size()));
  }
}

double narrowest_gap(const std::vector<double>& x) {
  double gap = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < x.size(); ++i) gap = std::min(gap, std::abs(x[i] - x[i - 1]));
  return std::isfinite(gap) && gap > 0 ? gap : 1.0;
}

double error_of(const Series& series, std::size_t i) { return series.error.empty() ? 0.0 : series.error[i]; }

// Puts the upper edges of each bar into `stack`, which the next bars series stands on.
void stack_bars(DrawnSeries& drawn, std::vector<double>& stack, const std::vector<double>*& stack_x) {
  const Series& series = *drawn.series;
  if (stack_x && *stack_x != series.x) {
    throw ConfigError(fmt::format("series \"{}\": stacked bars must share their x values", series.label));
  }
  stack_x = &series.x;
  stack.resize(series.y.size(), 0.0);
  drawn.base = stack;
  constexpr double kFilledPart = 0.72;
  drawn.bar_width = kFilledPart * narrowest_gap(series.x);
  for (std::size_t i = 0; i < stack.size(); ++i) stack[i] += std::isfinite(series.y[i]) ? series.y[i] : 0.0;
}

class Path {
 public:
  void move(Pixel p) { out_ += fmt::format("M{:.1f} {:.1f}", p.x, p.y); }
  void line(Pixel p) { out_ += fmt::format("L{:.1f} {:.1f}", p.x, p.y); }
  void close() { out_ += 'Z'; }
  std::string finish(std::string_view classes) const {
    return out_.empty() ? std::string() : fmt::format("<path class=\"{}\" d=\"{}\"/>", classes, out_);
  }

 private:
  std::string out_;
};

std::string marker(Pixel p, double radius) {
  return fmt::format("<circle class=\"bt-dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"/>", p.x, p.y, radius);
}

std::string line_classes(const Series& s) {
  return std::string("bt-line") + (s.dashed ? " bt-dash" : "") + (s.faint ? " bt-faint" : "");
}

std::string draw_line(const Series& s, const AxisMap& x, const AxisMap& y) {
  Path path;
  std::string dots;
  bool pen_down = false;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!x.has_place(s.x[i]) || !y.has_place(s.y[i])) {
      pen_down = false;
      continue;
    }
    const Pixel p{x(s.x[i]), y(s.y[i])};
    if (pen_down) {
      path.line(p);
    } else {
      path.move(p);
    }
    pen_down = true;
    if (shows_markers(s)) dots += marker(p, 2.6);
  }
  return path.finish(line_classes(s)) + dots;
}

std::string draw_points(const Series& s, const AxisMap& x, const AxisMap& y) {
  Path bars;
  std::string dots;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!x.has_place(s.x[i]) || !y.has_place(s.y[i])) continue;
    const double column = x(s.x[i]), error = error_of(s, i);
    if (error > 0) {
      // On a log axis a bar that reaches zero or below goes down to the frame.
      const double low = y.has_place(s.y[i] - error) ? s.y[i] - error : y.min();
      bars.move({column, y(low)});
      bars.line({column, y(s.y[i] + error)});
    }
    dots += marker({column, y(s.y[i])}, 3.6);
  }
  return bars.finish("bt-line bt-thin") + dots;
}

std::string draw_steps(const Series& s, const AxisMap& x, const AxisMap& y) {
  Path outline;
  const double bottom = y(y.min());
  bool pen_down = false;
  for (std::size_t i = 0; i < s.y.size(); ++i) {
    const double top = y.has_place(s.y[i]) ? y(s.y[i]) : bottom;
    const Pixel left{x(s.x[i]), top}, right{x(s.x[i + 1]), top};
    if (!pen_down) outline.move({left.x, bottom});
    pen_down = true;
    outline.line(left);
    outline.line(right);
  }
  if (pen_down) outline.line({x(s.x.back()), bottom});
  const std::string fill = s.filled ? outline.finish("bt-fill") : "";
  return fill + outline.finish(line_classes(s));
}

std::string draw_bars(const DrawnSeries& drawn, const AxisMap& x, const AxisMap& y) {
  Path path;
  const Series& s = *drawn.series;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!std::isfinite(s.y[i]) || !std::isfinite(s.x[i])) continue;
    const double left = x(s.x[i] - drawn.bar_width / 2), right = x(s.x[i] + drawn.bar_width / 2);
    const double bottom = y(drawn.base[i]), top = y(drawn.base[i] + s.y[i]);
    path.move({left, bottom});
    path.line({left, top});
    path.line({right, top});
    path.line({right, bottom});
    path.close();
  }
  return path.finish("bt-bar");
}

std::string draw_band(const Series& s, const AxisMap& x, const AxisMap& y) {
  std::vector<Pixel> upper, lower;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!x.has_place(s.x[i]) || !y.has_place(s.y[i] + s.error[i])) continue;
    const double low = y.has_place(s.y[i] - s.error[i]) ? s.y[i] - s.error[i] : y.min();
    upper.push_back({x(s.x[i]), y(s.y[i] + s.error[i])});
    lower.push_back({x(s.x[i]), y(low)});
  }
  if (upper.empty()) return {};
  Path path;
  path.move(upper.front());
  for (std::size_t i = 1; i < upper.size(); ++i) path.line(upper[i]);
  for (std::size_t i = lower.size(); i-- > 0;) path.line(lower[i]);
  path.close();
  return path.finish("bt-fill");
}

void trace_segment(std::vector<Pixel>& out, Pixel from, Pixel to) {
  constexpr double kSpacing = 5;
  const int pieces = std::min(400, static_cast<int>(std::hypot(to.x - from.x, to.y - from.y) / kSpacing) + 1);
  for (int i = 0; i <= pieces; ++i) {
    const double t = static_cast<double>(i) / pieces;
    out.push_back({from.x + t * (to.x - from.x), from.y + t * (to.y - from.y)});
  }
}

}  // namespace

bool shows_markers(const Series& series) {
  if (series.mark == Mark::points) return true;
  return series.mark == Mark::line && series.x.size() <= kMarkersUpTo && !series.dashed && !series.faint;
}

std::vector<DrawnSeries> prepare_series(const Plot& plot) {
  std::vector<DrawnSeries> result;
  std::vector<double> stack;
  const std::vector<double>* stack_x = nullptr;
  int next_color = 0;
  for (const Series& series : plot.series) {
    check_lengths(series);
    if (series.y.empty()) continue;
    DrawnSeries drawn{.series = &series,
                      .color = series.color >= 0 ? series.color % kPaletteSize : next_color++ % kPaletteSize};
    if (series.mark == Mark::bars) stack_bars(drawn, stack, stack_x);
    result.push_back(std::move(drawn));
  }
  return result;
}

Range x_range(const std::vector<DrawnSeries>& series, Scale scale) {
  Range range;
  for (const DrawnSeries& drawn : series) {
    for (double value : drawn.series->x) {
      range.add(value - drawn.bar_width * 0.7, scale);
      range.add(value + drawn.bar_width * 0.7, scale);
    }
  }
  return range;
}

Range y_range(const std::vector<DrawnSeries>& series, Scale scale) {
  Range range;
  for (const DrawnSeries& drawn : series) {
    const Series& s = *drawn.series;
    for (std::size_t i = 0; i < s.y.size(); ++i) {
      const double base = drawn.base.empty() ? 0.0 : drawn.base[i];
      range.add(base + s.y[i] + error_of(s, i), scale);
      // The lower end of an error bar does not stretch a log axis over decades.
      range.add(base + s.y[i] - (scale == Scale::log ? 0.0 : error_of(s, i)), scale);
    }
  }
  return range;
}

bool needs_zero(const std::vector<DrawnSeries>& series) {
  return std::any_of(series.begin(), series.end(), [](const DrawnSeries& drawn) {
    return drawn.series->mark == Mark::bars || drawn.series->mark == Mark::steps;
  });
}

std::string draw_series(const DrawnSeries& drawn, const AxisMap& x, const AxisMap& y) {
  switch (drawn.series->mark) {
    case Mark::line:
      return draw_line(*drawn.series, x, y);
    case Mark::points:
      return draw_points(*drawn.series, x, y);
    case Mark::steps:
      return draw_steps(*drawn.series, x, y);
    case Mark::bars:
      return draw_bars(drawn, x, y);
    case Mark::band:
      return draw_band(*drawn.series, x, y);
  }
  return {};
}

std::vector<Pixel> trace_series(const DrawnSeries& drawn, const AxisMap& x, const AxisMap& y) {
  const Series& s = *drawn.series;
  std::vector<Pixel> trace;
  const double bottom = y(y.min());
  for (std::size_t i = 0; i < s.y.size(); ++i) {
    if (!x.has_place(s.x[i]) || !y.has_place(s.y[i])) continue;
    const double base = drawn.base.empty() ? 0.0 : drawn.base[i];
    const Pixel here{x(s.x[i]), y(base + s.y[i])};
    if (s.mark == Mark::bars || (s.mark == Mark::steps && s.filled))
      trace_segment(trace, {here.x, bottom}, here);
    if (s.mark == Mark::steps) {
      trace_segment(trace, here, {x(s.x[i + 1]), here.y});
    } else if (s.mark == Mark::points || i == 0 || !x.has_place(s.x[i - 1]) || !y.has_place(s.y[i - 1])) {
      trace.push_back(here);
    } else {
      trace_segment(trace, {x(s.x[i - 1]), y(s.y[i - 1] + base)}, here);
    }
  }
  return trace;
}

}  // namespace bunchtrain::plot
