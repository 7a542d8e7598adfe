// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Times and counts as people read them.

#include <cstdint>
#include <string>

namespace bunchtrain {

/// "0:41", "12:03", "1:02:03", "2 d 03:04"; "-" for a negative or unknown time.
std::string format_duration(double seconds);
/// Three digits with a suffix: "981", "12.4k", "3.10M"; "-" for what is not finite.
std::string format_count(double value);
/// "366,160".
std::string format_integer(std::int64_t value);

}  // namespace bunchtrain
