// SPDX-License-Identifier: Apache-2.0
// Entry point of libFuzzer for data cards: any text either parses or throws ConfigError, and what has parsed
// is written so that it reads back.

#include <cstdint>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/shower_card.hpp"

namespace {

namespace features = bunchtrain::features;

void parse_and_write(std::string_view text) {
  if (!features::is_shower_card(text)) {
    features::to_toml(features::parse_card(text, "fuzz"));
    return;
  }
  const auto card = features::parse_shower_card(text, "fuzz");
  if (features::parse_shower_card(features::to_toml(card), "again") != card) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    parse_and_write({reinterpret_cast<const char*>(data), size});
  } catch (const bunchtrain::ConfigError&) {
    return 0;
  }
  return 0;
}
