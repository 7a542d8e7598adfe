// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/shell_word.hpp"

#include <algorithm>
#include <cctype>

namespace bunchtrain {

std::string shell_word(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c >= 0x80 ||
           std::string_view("_-./+,:@%=").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += "'\\'";  // ends the quotes, a quote by itself, begins them again
    quoted += c;
  }
  return quoted + "'";
}

}  // namespace bunchtrain
