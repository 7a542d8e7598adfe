// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Units of a file and what they are in ours: GeV, mm, rad.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::features::detail {

/// Factor from `unit` to GeV, mm or rad; empty for a unit that does not convert.
std::optional<double> unit_factor(std::string_view unit) noexcept;
/// Every unit that converts, for messages.
std::vector<std::string> known_units();

}  // namespace bunchtrain::features::detail
