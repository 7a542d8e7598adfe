// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Option values to and from text.

#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/config/options.hpp"

namespace bunchtrain::config {

/// "a number", "a list of texts" ... for the alternative `index` of OptionValue.
std::string_view type_name(std::size_t index);

/// Reads the pieces of a flag, a TOML value or a variable as the option's type.
/// @throws ConfigError naming `origin`, the text and the type wanted.
OptionValue parse_value(const OptionSpec& spec, const std::vector<std::string>& pieces,
                        std::string_view origin);

/// A value as TOML; reads back to the same value.
std::string toml_text(const OptionValue& value);

/// "N", "X", "TEXT" for the help; empty for switches.
std::string value_placeholder(const OptionSpec& spec);

/// Help sentence with the default and the allowed values.
std::string help_text(const OptionSpec& spec);

}  // namespace bunchtrain::config
