// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Cards that parse, and what is said of those that do not.

#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"

namespace bunchtrain::features {

/// A small card that parses; `extra` is put behind it.
inline std::string small_card(std::string_view extra = "") {
  return R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt", "kind"]
[[read.part]]
from = "particles"
columns = ["pt", "x"]
[inputs]
features = ["part.pt", "part.x"]
)toml" + std::string(extra);
}

/// The message of the ConfigError that parsing `toml` throws.
inline std::string error_of(const std::string& toml) {
  try {
    parse_card(toml, "my.toml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

/// A card of hits that parses; `extra` is put behind it.
inline std::string hit_card(std::string_view extra = "",
                            std::string_view layout = "type = \"csr\"\nrow_splits = \"s\"") {
  return "card = 1\nkind = \"hits\"\n[layout]\n" + std::string(layout) + R"toml(
[[read.hit]]
from = "hits"
columns = ["energy", "x"]
[inputs]
features = ["log(hit.energy)"]
)toml" + std::string(extra);
}

}  // namespace bunchtrain::features
