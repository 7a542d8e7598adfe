// SPDX-License-Identifier: Apache-2.0
#include "number_range.hpp"

#include <charconv>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::tool {
namespace {

/// The numbers that `separator` keeps apart; nothing if a part is no finite number.
template <class Number>
std::optional<std::vector<Number>> parse_numbers(std::string_view text, char separator) {
  std::vector<Number> numbers;
  while (true) {
    const std::size_t end = std::min(text.find(separator), text.size());
    Number number{};
    const auto [stop, error] = std::from_chars(text.data(), text.data() + end, number);
    if (error != std::errc() || stop != text.data() + end || !std::isfinite(static_cast<double>(number)))
      return std::nullopt;
    numbers.push_back(number);
    if (end == text.size()) return numbers;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

NumberRange parse_range(std::string_view option, std::string_view text) {
  const auto numbers = parse_numbers<double>(text, ':');
  if (!numbers || numbers->size() > 2 || numbers->front() > numbers->back())
    throw ConfigError(option, text, "LOWEST:HIGHEST, such as 10:100, or one number");
  return {numbers->front(), numbers->back()};
}

std::vector<double> parse_list(std::string_view option, std::string_view text) {
  if (text.empty()) return {};
  auto numbers = parse_numbers<double>(text, ',');
  if (!numbers) throw ConfigError(option, text, "numbers with commas between them, such as 10,40,100");
  return std::move(*numbers);
}

std::array<std::int64_t, 3> parse_grid(std::string_view option, std::string_view text) {
  const auto numbers = parse_numbers<std::int64_t>(text, 'x');
  if (!numbers || numbers->size() != 3)
    throw ConfigError(option, text, "cells along x, y and z, such as 25x25x25");
  return {(*numbers)[0], (*numbers)[1], (*numbers)[2]};
}

}  // namespace bunchtrain::tool
