// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Options that hold several numbers: "10:100", "25x25x25".

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace bunchtrain::tool {

struct NumberRange {
  double low;
  double high;
};

/// "10:100", or "50" for both bounds. @throws ConfigError naming `option` if it is neither or falls.
NumberRange parse_range(std::string_view option, std::string_view text);

/// "10,40,100"; empty for an empty text. @throws ConfigError naming `option`.
std::vector<double> parse_list(std::string_view option, std::string_view text);

/// "25x25x25": cells along x, y and z. @throws ConfigError naming `option`.
std::array<std::int64_t, 3> parse_grid(std::string_view option, std::string_view text);

}  // namespace bunchtrain::tool
