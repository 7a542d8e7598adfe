// SPDX-License-Identifier: Apache-2.0
#include "parse_number.hpp"

#include <cctype>
#include <charconv>
#include <string_view>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::tool {
namespace {

/// The number at the beginning, and what follows it; -1 if there is none.
std::int64_t take_number(std::string_view& text) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return error == std::errc() ? number : -1;
}

}  // namespace

std::int64_t parse_number(const char* option, const std::string& text, const char* allowed) {
  std::string_view rest = text;
  const std::int64_t number = take_number(rest);
  if (number < 0 || !rest.empty()) throw ConfigError(option, text, allowed);
  return number;
}

std::int64_t parse_bytes(const char* option, const std::string& text) {
  constexpr std::string_view kUnits = "kmgt";
  std::string_view rest = text;
  const std::int64_t number = take_number(rest);
  const std::size_t unit = rest.size() == 1 ? kUnits.find(static_cast<char>(std::tolower(rest.front()))) : 0;
  const int shift = rest.empty() ? 0 : 10 * (static_cast<int>(unit) + 1);
  const bool fits = number >= 1 && unit != std::string_view::npos && rest.size() <= 1 &&
                    number <= (std::int64_t{1} << 62) >> shift;
  if (!fits) throw ConfigError(option, text, "bytes from 1 on, such as 4k or 1G");
  return number << shift;
}

}  // namespace bunchtrain::tool
