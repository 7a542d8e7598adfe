// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A stretch of an arena, for whoever answers for a part of it.

#include <cstddef>
#include <cstdint>

namespace bunchtrain::tensor {

/// Elements [begin, end) of the flat tensors of one of a network's arenas.
struct ArenaRange {
  std::size_t arena;
  std::int64_t begin, end;

  bool operator==(const ArenaRange&) const = default;
};

}  // namespace bunchtrain::tensor
