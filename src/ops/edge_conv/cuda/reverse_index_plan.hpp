// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the reverse index of a batch of sets is made, and what it needs: sizes only, 64 bits wide.

#include <cstdint>
#include <limits>

#include "edge_conv/cpu/edge_simd.hpp"
#include "sorting/digit_sort_plan.hpp"

namespace bunchtrain::ops::detail {

/// Sets of more edges than this are sorted by many blocks; below, a block per set is quicker.
inline constexpr std::int64_t kLargestSetOfABlock = 8192;

struct ReverseIndexPlan {
  std::int64_t num_edges = 0;  ///< of all sets
  std::int64_t tiles = 0;      ///< blocks of the sort; 0: a block per set instead
  int passes = 0;              ///< of the sort: digits of the largest point number
  std::int64_t starts_bytes = 0, keys_bytes = 0, values_bytes = 0;

  bool sorts() const { return tiles > 0; }
  /// Where in a digit's places each tile begins, two buffers of keys, one of values.
  std::int64_t scratch_bytes() const { return starts_bytes + 2 * keys_bytes + values_bytes; }
};

/// Edges of a set and points of all sets are numbered by 32 bits.
inline bool can_be_numbered(const EdgeShape& shape, std::int64_t sets) {
  const auto fits = [](std::int64_t a, std::int64_t b, std::int64_t largest) {
    return b == 0 || a <= largest / b;
  };
  return fits(shape.points, shape.neighbours, std::numeric_limits<std::int32_t>::max()) &&
         fits(sets, shape.points, std::numeric_limits<std::uint32_t>::max());
}

/// @pre can_be_numbered
inline ReverseIndexPlan plan_reverse_index(const EdgeShape& shape, std::int64_t sets) {
  ReverseIndexPlan plan{.num_edges = sets * shape.points * shape.neighbours};
  if (plan.num_edges == 0 || shape.points * shape.neighbours <= kLargestSetOfABlock) return plan;
  plan.tiles = sort_tiles(plan.num_edges);
  plan.passes = sort_passes(sets * shape.points - 1);
  plan.starts_bytes = sort_starts_bytes(plan.num_edges);
  plan.keys_bytes = sort_buffer_bytes(plan.num_edges);
  plan.values_bytes = sort_buffer_bytes(plan.num_edges);
  return plan;
}

}  // namespace bunchtrain::ops::detail
