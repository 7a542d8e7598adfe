// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Names that a program gives to numbers of its own.

#include <string_view>

namespace bunchtrain::train {

/// @param what "metric", for the error
/// @throws ConfigError unless it is a word of letters, digits and "_" that begins with a letter.
void require_plain_name(std::string_view what, std::string_view name);

}  // namespace bunchtrain::train
