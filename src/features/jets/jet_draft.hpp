// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A first card of jets for a layout that nobody described.

#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/features/recognition.hpp"

namespace bunchtrain::features::detail {

/// TOML text that parses: everything with the common number of rows is read, particle columns are
/// inputs, labels are those that look like some. Empty if the file holds no particles: neither
/// [jets, particles, columns], a compound [jets, particles], one dataset [jets, particles] per
/// column, nor long rows of numbers.
std::string draft_jets(std::span<const DatasetShape> datasets, std::string_view file);

}  // namespace bunchtrain::features::detail
