// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sizes of memory and files as people write them.

#include <string>
#include <string_view>

namespace bunchtrain::app {

/// "80G", "512M", "1.5T" or bytes; powers of 1000. @param option whose value it is, for the message
/// @throws ConfigError for anything else
double parse_byte_count(std::string_view option, const std::string& text);

}  // namespace bunchtrain::app
