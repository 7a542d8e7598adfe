// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Paths in commands that a message prints to be copied.

#include <string>
#include <string_view>

namespace bunchtrain {

/// The text as a shell takes it for one word: in single quotes if it must be.
std::string shell_word(std::string_view text);

}  // namespace bunchtrain
