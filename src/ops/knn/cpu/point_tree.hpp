// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Points of many sets, each set in spatial order: blocks of few points, and boxes around them in a wide
/// tree. No ATen.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace bunchtrain::ops::detail {

/// Points of a block, and children of a node.
inline constexpr std::int64_t kBlockSize = 16;
inline constexpr std::int64_t kMostTreeDims = 8;

/// Sets of points, one after another.
struct RaggedPoints {
  const float* points;  ///< [N, D], contiguous
  std::int64_t dims;    ///< D
  std::span<const std::int64_t> row_splits;

  std::int64_t num_sets() const { return static_cast<std::int64_t>(row_splits.size()) - 1; }
  std::int64_t size() const { return row_splits.back(); }
  const float* point(std::int64_t index) const { return points + index * dims; }
};

/// Calls a function for parts [begin, end) of 0 to `count`, of `grain` at least, on some threads.
using ParallelFor = std::function<void(std::int64_t count, std::int64_t grain,
                                       const std::function<void(std::int64_t, std::int64_t)>&)>;

/// The part of the tree that belongs to one set.
struct SetTree {
  std::int64_t first_block = 0;
  std::int64_t num_blocks = 0;
  int num_levels = 0;
  /// First node of each level: the parents of blocks first, the root last.
  std::array<std::int64_t, 8> levels{};

  /// Children that a node of a level has; `number` counts from the level's first node.
  std::int64_t children_of(int level, std::int64_t number) const {
    const auto l = static_cast<std::size_t>(level);
    const std::int64_t below = level == 0 ? num_blocks : levels[l] - levels[l - 1];
    return std::min(kBlockSize, below - number * kBlockSize);
  }
};

/// Points with an infinite or NaN coordinate stand beside the blocks: boxes say nothing about them.
struct OddPoints {
  std::vector<std::int32_t> infinite;  ///< those without NaN, ascending
  std::vector<std::int32_t> nan;       ///< ascending
};

/// A block's points are near each other, and so are those of a node's children. Arrays are as the search loads
/// them: a coordinate of all points of a block, or of all children of a node, side by side.
struct PointTree {
  std::int64_t dims = 0;
  std::vector<SetTree> sets;
  std::vector<OddPoints> odd;              ///< of each set
  std::vector<std::int32_t> set_of_block;  ///< [blocks]
  std::vector<float> coordinates;          ///< [blocks, D, kBlockSize], NaN past a set's last point
  std::vector<std::int32_t> indices;       ///< [blocks, kBlockSize], -1 past a set's last point
  std::vector<float> boxes;                ///< [nodes, 2, D, kBlockSize]: children's low and high corners
  std::vector<std::int32_t> lowest;        ///< [nodes, kBlockSize]: children's smallest index

  std::int64_t num_blocks() const { return static_cast<std::int64_t>(set_of_block.size()); }
  const float* block(std::int64_t number) const { return coordinates.data() + number * dims * kBlockSize; }
  const std::int32_t* block_indices(std::int64_t number) const {
    return indices.data() + number * kBlockSize;
  }
  const float* low(std::int64_t node) const { return boxes.data() + node * 2 * dims * kBlockSize; }
  const float* high(std::int64_t node) const { return low(node) + dims * kBlockSize; }
};

/// Sorts by recursive splits of the widest coordinate, equal ones by index. @pre D is 1 to kMostTreeDims
PointTree build_point_tree(const RaggedPoints& points, const ParallelFor& parallel_for);

}  // namespace bunchtrain::ops::detail
