// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The cards of share/bunchtrain/cards, put into the library by the build.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/features/card.hpp"

namespace bunchtrain::features::detail {

struct BuiltinCard {
  std::string_view name;
  std::string_view text;
  CardKind kind;
};

std::span<const BuiltinCard> builtin_card_list();

/// The text of a built-in card of either kind, or of a file. @param names the built-in cards that a message
/// offers. @throws ConfigError for a name that is none of them.
std::string card_text(std::string_view name_or_path, const std::vector<std::string>& names);

}  // namespace bunchtrain::features::detail
