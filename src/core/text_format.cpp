// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/text_format.hpp"

#include <fmt/core.h>

#include <cmath>
#include <cstdint>

namespace bunchtrain {

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "-";
  const auto total = static_cast<std::int64_t>(std::lround(seconds));
  const std::int64_t days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60,
                     rest = total % 60;
  if (days > 0) return fmt::format("{} d {:02}:{:02}", days, hours, minutes);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, rest);
  return fmt::format("{}:{:02}", minutes, rest);
}

std::string format_count(double value) {
  if (!std::isfinite(value)) return "-";
  constexpr std::string_view kSuffixes[] = {"", "k", "M", "G", "T"};
  std::size_t suffix = 0;
  // 999.6 would print as 1000 without its suffix.
  for (; std::abs(value) >= 999.5 && suffix + 1 < std::size(kSuffixes); ++suffix) value /= 1000;
  const double size = std::abs(value);
  const int decimals = size >= 99.95 || value == 0 ? 0 : size >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f}{}", value, suffix == 0 && value == std::floor(value) ? 0 : decimals,
                     kSuffixes[suffix]);
}

std::string format_integer(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t place = digits.size(); place > first + 3;) {
    place -= 3;
    digits.insert(place, 1, ',');
  }
  return digits;
}

}  // namespace bunchtrain
