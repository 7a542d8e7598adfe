// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What of a network an optimizer updates, where ranks share the work.

#include <optional>
#include <vector>

#include "bunchtrain/tensor/arena_range.hpp"

namespace bunchtrain::optim {

/// As `parallel::Engine::owned_ranges` gives them: at most one range of an arena, from and to a multiple of 64
/// bytes or the arena's end. Arenas without a range belong to other ranks. Unset: everything.
using OwnedRanges = std::optional<std::vector<tensor::ArenaRange>>;

}  // namespace bunchtrain::optim
