// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The search of nearest neighbours in a tree of blocks, on the CPU. No ATen: tensors and threads are in
/// ragged_knn.cpp.

#include "point_tree.hpp"

namespace bunchtrain::ops::detail {

inline constexpr std::int64_t kMaxRaggedK = 64;

/// Where neighbours go; the indices are those of all sets' points.
struct RaggedRows {
  std::int64_t k;            ///< 1 to kMaxRaggedK
  std::int32_t* indices;     ///< [N, k], -1 where a set has too few
  float* squared_distances;  ///< [N, k], or nullptr if not wanted
};

/// Fills the rows of the points in blocks [begin, end), as `ops::ragged_knn` promises. @pre D is 1 to 8.
/// Thread-safe.
void search_blocks(const PointTree& tree, std::int64_t begin, std::int64_t end, const RaggedRows& rows);

/// The same by comparing all points: for processors without the vector instructions, and the tests.
void search_blocks_plain(const PointTree& tree, std::int64_t begin, std::int64_t end, const RaggedRows& rows);

/// Fills the rows of a set's points that are in no block.
void search_odd_points(const RaggedPoints& points, const PointTree& tree, std::int64_t set,
                       const RaggedRows& rows);

}  // namespace bunchtrain::ops::detail
