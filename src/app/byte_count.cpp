// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/byte_count.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::app {

double parse_byte_count(std::string_view option, const std::string& text) {
  std::size_t used = 0;
  double number = 0;
  try {
    number = std::stod(text, &used);
  } catch (const std::logic_error&) {
    used = 0;
  }
  constexpr std::array<std::string_view, 5> kUnits = {"", "K", "M", "G", "T"};
  const auto unit = std::ranges::find(kUnits, std::string_view(text).substr(used));
  if (used == 0 || !(number > 0) || unit == kUnits.end())
    throw ConfigError(std::string(option), text, "bytes above 0, such as 80G or 512M");
  for (auto i = unit - kUnits.begin(); i > 0; --i) number *= 1e3;
  return number;
}

}  // namespace bunchtrain::app
