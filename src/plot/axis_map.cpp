// SPDX-License-Identifier: Apache-2.0
#include "axis_map.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace bunchtrain::plot {
namespace {

constexpr int kTargetTicks = 6;
constexpr int kMostTicks = 100;
/// A log axis stays inside what a double can hold with room to spare.
constexpr double kLogFloor = 1e-150, kLogCeiling = 1e150;

std::string superscript(int number) {
  constexpr std::string_view kDigits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string result;
  for (char c : std::to_string(number)) result += c == '-' ? std::string_view("⁻") : kDigits[c - '0'];
  return result;
}

double tick_distance(double min, double max, int count) {
  const double raw = (max - min) / std::max(count, 1);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= raw * 0.999) return factor * power;
  }
  return 10 * power;
}

std::vector<double> multiples(double distance, double min, double max) {
  std::vector<double> result;
  const double slack = 1e-9 * distance;
  const double first = std::ceil((min - slack) / distance);
  // Counted, because beyond 2^53 the next multiple is the same number.
  for (int i = 0; i < kMostTicks && (first + i) * distance <= max + slack; ++i)
    result.push_back((first + i) * distance);
  return result;
}

// Digits behind the point that all labels need.
int decimals_for(double distance) {
  for (int decimals = 0; decimals < 12; ++decimals) {
    const double scaled = distance * std::pow(10.0, decimals);
    if (std::abs(scaled - std::round(scaled)) < 1e-6 * scaled) return decimals;
  }
  return 12;
}

// The number of steps between two labelled ticks that keeps minor ticks at round places.
int minor_steps(double distance) {
  const double mantissa = distance / std::pow(10.0, std::floor(std::log10(distance) + 1e-9));
  return mantissa < 1.5 || mantissa > 4 ? 5 : mantissa < 2.2 ? 4 : 5;
}

}  // namespace

std::vector<double> make_ticks(double min, double max, int count) {
  if (!(max > min)) return {min};
  return multiples(tick_distance(min, max, count), min, max);
}

std::vector<double> make_log_ticks(double min, double max) {
  std::vector<double> result;
  if (!(min > 0) || !(max >= min)) return result;
  const int first = static_cast<int>(std::ceil(std::log10(min) - 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(max) + 1e-9));
  for (int exponent = first; exponent <= last; ++exponent) result.push_back(std::pow(10.0, exponent));
  return result;
}

std::string format_power_of_ten(int exponent) {
  if (exponent == 0) return "1";
  return exponent == 1 ? "10" : "10" + superscript(exponent);
}

void Range::add(double value, Scale scale) {
  if (!std::isfinite(value) || (scale == Scale::log && value <= 0)) return;
  min = empty ? value : std::min(min, value);
  max = empty ? value : std::max(max, value);
  empty = false;
}

AxisMap::AxisMap(const Axis& axis, Range data, bool include_zero, double pad) : scale_(axis.scale) {
  set_limits(axis, data, include_zero, pad);
  if (scale_ == Scale::log) {
    set_log_ticks();
  } else {
    set_linear_ticks(axis.integers);
  }
}

void AxisMap::set_limits(const Axis& axis, Range data, bool include_zero, double pad) {
  if (data.empty)
    data = {
        .min = scale_ == Scale::log ? 1.0 : 0.0, .max = scale_ == Scale::log ? 10.0 : 1.0, .empty = false};
  if (scale_ == Scale::log) {
    data.min = std::clamp(data.min, kLogFloor, kLogCeiling);
    data.max = std::clamp(data.max, kLogFloor, kLogCeiling);
    const double room = std::pow(data.max / data.min, pad);
    min_ = data.min / room;
    max_ = data.max * room;
    if (max_ < 4 * min_) min_ /= 2, max_ *= 2;  // so that two labels fit
  } else {
    if (axis.min) data.min = std::min(*axis.min, data.max);
    if (axis.max) data.max = std::max(*axis.max, data.min);
    if (include_zero) data.min = std::min(data.min, 0.0), data.max = std::max(data.max, 0.0);
    double room = (data.max - data.min) * pad;
    if (data.max == data.min) room = axis.integers || data.min == 0 ? 0.5 : 0.1 * std::abs(data.min);
    min_ = include_zero && data.min == 0 ? 0 : data.min - room;
    max_ = data.max + room;
  }
  if (axis.min) min_ = *axis.min;
  if (axis.max) max_ = *axis.max;
  if (!(max_ > min_)) max_ = scale_ == Scale::log ? min_ * 10 : min_ + 1;
}

void AxisMap::set_linear_ticks(bool integers) {
  double distance = tick_distance(min_, max_, kTargetTicks);
  if (integers) distance = std::max(1.0, std::ceil(distance - 1e-9));
  const double greatest = std::max(std::abs(min_), std::abs(max_));
  int exponent = 0;
  if (greatest >= 1e5 || greatest < 1e-2) exponent = static_cast<int>(std::floor(std::log10(greatest)));
  if (exponent != 0) common_factor_ = "×" + format_power_of_ten(exponent);
  const double factor = std::pow(10.0, exponent);
  const int decimals = decimals_for(distance / factor);
  for (double value : multiples(distance, min_, max_)) {
    if (std::abs(value) < 1e-9 * distance) value = 0;  // never "-0"
    ticks_.push_back({value, fmt::format("{:.{}f}", value / factor, decimals)});
  }
  const double minor = distance / minor_steps(distance);
  if (integers && minor < 1) return;
  for (double value : multiples(minor, min_, max_)) {
    const double position = value / distance;
    if (std::abs(position - std::round(position)) > 1e-6) ticks_.push_back({value, {}});
  }
}

void AxisMap::set_log_ticks() {
  const double decades = (std::log10(max_) - std::log10(min_));
  const int every = std::max(1, static_cast<int>(std::ceil(decades / 8)));
  const int first = static_cast<int>(std::floor(std::log10(min_)));
  for (int exponent = first; std::pow(10.0, exponent) <= max_; ++exponent) {
    for (int digit = 1; digit < 10; ++digit) {
      const double value = digit * std::pow(10.0, exponent);
      if (value < min_ * (1 - 1e-9) || value > max_ * (1 + 1e-9)) continue;
      const bool is_power = digit == 1;
      if (is_power && exponent % every == 0) {
        ticks_.push_back({value, format_power_of_ten(exponent)});
      } else if (!is_power && decades < 1.6 && (digit == 2 || digit == 5)) {
        const bool plain = exponent >= -2 && exponent <= 2;
        ticks_.push_back({value, plain ? fmt::format("{:g}", value)
                                       : fmt::format("{}·{}", digit, format_power_of_ten(exponent))});
      } else if (is_power || every == 1) {
        ticks_.push_back({value, {}});
      }
    }
  }
}

double AxisMap::operator()(double value) const {
  const double fraction = scale_ == Scale::log
                              ? (std::log10(value) - std::log10(min_)) / (std::log10(max_) - std::log10(min_))
                              : (value - min_) / (max_ - min_);
  // Far outside is as good as outside, and keeps the numbers in the file short.
  return first_ + std::clamp(fraction, -2.0, 3.0) * (last_ - first_);
}

bool AxisMap::has_place(double value) const {
  return std::isfinite(value) && (scale_ == Scale::linear || value > 0);
}

}  // namespace bunchtrain::plot
