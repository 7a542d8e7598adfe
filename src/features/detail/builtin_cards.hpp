// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The cards of share/bunchtrain/cards, put into the library by the build.

#include <span>
#include <string_view>

namespace bunchtrain::features::detail {

struct BuiltinCard {
  std::string_view name;
  std::string_view text;
};

std::span<const BuiltinCard> builtin_card_list();

}  // namespace bunchtrain::features::detail
