// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A first card of hits for a layout that nobody described.

#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/features/recognition.hpp"

namespace bunchtrain::features::detail {

/// TOML text that parses, for datasets of hits one behind the other and one of row splits or offsets, which has a row
/// more than there are events. Empty if the file has none that looks like it.
std::string draft_hits(std::span<const DatasetShape> datasets, std::string_view file);
/// The same for a compound table of hits with a member that numbers events.
std::string draft_flat_hits(std::span<const DatasetShape> datasets, std::string_view file);

}  // namespace bunchtrain::features::detail
