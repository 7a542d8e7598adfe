// SPDX-License-Identifier: Apache-2.0
#pragma once
/// "Did you mean": the known name nearest to a mistyped one.

#include <span>
#include <string>
#include <string_view>

namespace bunchtrain {

/// The candidate with the smallest edit distance to `name` (insertions, deletions, exchanges of neighbours),
/// letter case ignored; empty if none is close enough to be a slip of the pen (a third of the length, at
/// least one edit).
std::string nearest(std::string_view name, std::span<const std::string> candidates);

}  // namespace bunchtrain
