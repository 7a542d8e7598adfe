// SPDX-License-Identifier: Apache-2.0
#include "plain_name.hpp"

#include <algorithm>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

void require_plain_name(std::string_view what, std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const bool plain = !name.empty() && is_letter(name.front()) && std::ranges::all_of(name, [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_';
  });
  if (!plain) throw ConfigError(what, name, "a word of letters, digits and _ that begins with a letter");
}

}  // namespace bunchtrain::train
