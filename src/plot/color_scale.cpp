// SPDX-License-Identifier: Apache-2.0
#include "color_scale.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace bunchtrain::plot {
namespace {

using Rgb = std::array<double, 3>;

/// A colour in OKLCH (Ottosson 2020), in which equal steps of lightness look equal.
struct Color {
  double lightness;
  double chroma;
  double hue;  ///< degrees
};

Rgb to_linear_rgb(const Color& color) {
  const double angle = color.hue * std::numbers::pi / 180;
  const double a = color.chroma * std::cos(angle), b = color.chroma * std::sin(angle);
  const auto cube = [](double x) { return x * x * x; };
  const double l = cube(color.lightness + 0.3963377774 * a + 0.2158037573 * b);
  const double m = cube(color.lightness - 0.1055613458 * a - 0.0638541728 * b);
  const double s = cube(color.lightness - 0.0894841775 * a - 1.2914855480 * b);
  return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
          -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

bool can_be_shown(const Rgb& rgb) {
  return std::all_of(rgb.begin(), rgb.end(), [](double c) { return c > -1e-4 && c < 1 + 1e-4; });
}

// "#a1b2c3". A colour that no screen can show loses chroma, not lightness.
std::string to_hex(Color color) {
  while (!can_be_shown(to_linear_rgb(color)) && color.chroma > 1e-3) color.chroma *= 0.97;
  std::string hex = "#";
  for (double channel : to_linear_rgb(color)) {
    channel = std::clamp(channel, 0.0, 1.0);
    const double encoded =
        channel <= 0.0031308 ? 12.92 * channel : 1.055 * std::pow(channel, 1 / 2.4) - 0.055;
    hex += fmt::format("{:02x}", static_cast<int>(std::lround(255 * encoded)));
  }
  return hex;
}

double mix(double from, double to, double t) { return from + (to - from) * t; }

// From pale yellow over green and blue to deep violet. `t`: 0 to 1.
Color sequential_color(double t) {
  return {.lightness = mix(0.93, 0.27, t), .chroma = mix(0.13, 0.15, t), .hue = mix(105, 300, t)};
}

// `t`: -1 to 1.
Color diverging_color(double t, bool dark) {
  const double strength = std::abs(t);
  const double middle = dark ? 0.30 : 0.95, end = dark ? 0.80 : 0.46;
  return {.lightness = mix(middle, end, strength), .chroma = 0.17 * strength, .hue = t < 0 ? 255.0 : 45.0};
}

std::string make_rules(bool dark) {
  std::string rules;
  for (int level = 0; level < kColorLevels; ++level) {
    const double t = static_cast<double>(level) / (kColorLevels - 1);
    rules += fmt::format(".{}{{fill:{}}}.{}{{fill:{}}}", color_class(ColorScale::sequential, level),
                         to_hex(sequential_color(dark ? 1 - t : t)),
                         color_class(ColorScale::diverging, level), to_hex(diverging_color(2 * t - 1, dark)));
  }
  return rules;
}

}  // namespace

std::string color_class(ColorScale scale, int level) {
  return fmt::format("bt-{}{}", scale == ColorScale::diverging ? 'd' : 's', level);
}

std::string color_style_sheet() {
  return fmt::format("{}\n@media (prefers-color-scheme:dark){{{}}}\n", make_rules(false), make_rules(true));
}

}  // namespace bunchtrain::plot
