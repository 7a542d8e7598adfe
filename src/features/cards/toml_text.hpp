// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Values as TOML text. Cards are written by hand, not by the TOML library, so that the order and the layout
/// are those of docs/cards.md.

#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::features::detail {

/// A basic string with its escapes.
std::string toml_quote(std::string_view text);
/// A key, quoted if it must be.
std::string toml_key(std::string_view name);
/// The shortest decimal that reads back to the same double.
std::string toml_number(double value);
/// ["a", "b"]
std::string toml_list(const std::vector<std::string>& values);

}  // namespace bunchtrain::features::detail
