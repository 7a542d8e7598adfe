// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers in words of a command line.

#include <cstdint>
#include <string>

namespace bunchtrain::tool {

/// A whole number from 0 on, and nothing behind it. @throws ConfigError of `option`
std::int64_t parse_number(const char* option, const std::string& text, const char* allowed);
/// "4k", "1G" (powers of 1024) or bytes, from 1 on. @throws ConfigError of `option`
std::int64_t parse_bytes(const char* option, const std::string& text);

}  // namespace bunchtrain::tool
