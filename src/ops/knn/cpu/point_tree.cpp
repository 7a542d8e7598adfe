// SPDX-License-Identifier: Apache-2.0
#include "point_tree.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace bunchtrain::ops::detail {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kLargestSerialSplit = 4096;  // larger segments are split side by side

/// Entries of the order: what is sorted by in the upper half, the point's index in the lower.
using Order = std::vector<std::uint64_t>;
using Segment = std::span<std::uint64_t>;

std::int64_t index_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }

std::int64_t blocks_for(std::int64_t points) { return (points + kBlockSize - 1) / kBlockSize; }

/// Bits that order as the numbers do.
std::uint32_t ordered_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

std::int64_t widest_dim(const RaggedPoints& points, Segment segment) {
  std::array<float, kMostTreeDims> low, high;
  low.fill(kInfinity);
  high.fill(-kInfinity);
  const auto dims = static_cast<std::size_t>(points.dims);
  for (const std::uint64_t entry : segment) {
    const float* x = points.point(index_of(entry));
    for (std::size_t d = 0; d < dims; ++d) {
      low[d] = std::min(low[d], x[d]);
      high[d] = std::max(high[d], x[d]);
    }
  }
  std::size_t widest = 0;
  for (std::size_t d = 1; d < dims; ++d)
    if (high[d] - low[d] > high[widest] - low[widest]) widest = d;
  return static_cast<std::int64_t>(widest);
}

/// Puts what is lower along the widest coordinate first; returns how many. That is a power of two of blocks, so
/// that the blocks below any node of the tree come from one segment.
std::size_t split(const RaggedPoints& points, Segment segment) {
  const std::int64_t dim = widest_dim(points, segment);
  for (std::uint64_t& entry : segment)
    entry = std::uint64_t{ordered_bits(points.point(index_of(entry))[dim])} << 32 |
            static_cast<std::uint32_t>(entry);
  const auto blocks = static_cast<std::uint64_t>(blocks_for(static_cast<std::int64_t>(segment.size())));
  const std::size_t lower = std::bit_floor(blocks - 1) * kBlockSize;
  std::nth_element(segment.begin(), segment.begin() + static_cast<std::ptrdiff_t>(lower), segment.end());
  return lower;
}

void split_to_blocks(const RaggedPoints& points, Segment segment) {
  while (segment.size() > kBlockSize) {
    const std::size_t lower = split(points, segment);
    split_to_blocks(points, segment.first(lower));
    segment = segment.subspan(lower);
  }
}

bool is_large(Segment segment) { return segment.size() > kLargestSerialSplit; }

/// Large segments are split all at once, level by level, so that one large set has work for many threads.
void sort_in_space(const RaggedPoints& points, std::vector<Segment> segments,
                   const ParallelFor& parallel_for) {
  while (std::any_of(segments.begin(), segments.end(), is_large)) {
    std::vector<Segment> halves(2 * segments.size());
    parallel_for(static_cast<std::int64_t>(segments.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const std::size_t lower = is_large(segments[i]) ? split(points, segments[i]) : segments[i].size();
        halves[2 * i] = segments[i].first(lower);
        halves[2 * i + 1] = segments[i].subspan(lower);
      }
    });
    std::erase_if(halves, [](Segment segment) { return segment.empty(); });
    segments = std::move(halves);
  }
  parallel_for(static_cast<std::int64_t>(segments.size()), 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) split_to_blocks(points, segments[static_cast<std::size_t>(i)]);
  });
}

/// Lists the finite points of a set in `order` and the others in `odd`; returns how many are finite.
std::size_t separate(const RaggedPoints& points, std::size_t set, Order& order, OddPoints& odd) {
  auto next = static_cast<std::size_t>(points.row_splits[set]);
  for (std::int64_t i = points.row_splits[set]; i < points.row_splits[set + 1]; ++i) {
    const float* x = points.point(i);
    const bool finite = std::all_of(x, x + points.dims, [](float c) { return std::isfinite(c); });
    if (finite) {
      order[next++] = static_cast<std::uint64_t>(i);
      continue;
    }
    const bool nan = std::any_of(x, x + points.dims, [](float c) { return std::isnan(c); });
    (nan ? odd.nan : odd.infinite).push_back(static_cast<std::int32_t>(i));
  }
  return next - static_cast<std::size_t>(points.row_splits[set]);
}

/// Gives every set its blocks and nodes; returns how many nodes all have.
std::int64_t lay_out(PointTree& tree, std::span<const std::size_t> num_finite) {
  std::int64_t num_nodes = 0;
  for (std::size_t s = 0; s < tree.sets.size(); ++s) {
    SetTree& set = tree.sets[s];
    set.first_block = tree.num_blocks();
    set.num_blocks = blocks_for(static_cast<std::int64_t>(num_finite[s]));
    tree.set_of_block.resize(static_cast<std::size_t>(set.first_block + set.num_blocks),
                             static_cast<std::int32_t>(s));
    for (std::int64_t below = set.num_blocks; below > 0;) {
      const std::int64_t nodes = blocks_for(below);
      set.levels[static_cast<std::size_t>(set.num_levels++)] = num_nodes;
      num_nodes += nodes;
      below = nodes > 1 ? nodes : 0;
    }
  }
  return num_nodes;
}

void fill_block(const RaggedPoints& points, std::span<const std::uint64_t> order, std::int64_t block,
                PointTree& tree) {
  float* coordinates = tree.coordinates.data() + block * tree.dims * kBlockSize;
  std::int32_t* indices = tree.indices.data() + block * kBlockSize;
  for (std::size_t i = 0; i < static_cast<std::size_t>(kBlockSize); ++i) {
    const bool there = i < order.size();
    indices[i] = there ? static_cast<std::int32_t>(index_of(order[i])) : -1;
    for (std::int64_t d = 0; d < tree.dims; ++d)
      coordinates[d * kBlockSize + static_cast<std::int64_t>(i)] = there ? points.point(indices[i])[d] : kNan;
  }
}

/// The box of some values, NaN left out, as child `child` of a node.
void bound(std::span<const float> low, std::span<const float> high, float& to_low, float& to_high) {
  to_low = kInfinity;
  to_high = -kInfinity;
  for (const float x : low) to_low = x < to_low ? x : to_low;
  for (const float x : high) to_high = x > to_high ? x : to_high;
}

/// Boxes and smallest indices of a node's children, from the blocks or nodes below.
void fill_node(PointTree& tree, const SetTree& set, int level, std::int64_t number) {
  const std::int64_t node = set.levels[static_cast<std::size_t>(level)] + number;
  float* boxes = tree.boxes.data() + node * 2 * tree.dims * kBlockSize;
  for (std::int64_t c = 0; c < set.children_of(level, number); ++c) {
    const std::int64_t child = number * kBlockSize + c;
    const bool block = level == 0;
    const std::int64_t below =
        child + (block ? set.first_block : set.levels[static_cast<std::size_t>(level) - 1]);
    const auto count = static_cast<std::size_t>(block ? kBlockSize : set.children_of(level - 1, child));
    for (std::int64_t d = 0; d < tree.dims; ++d) {
      const float* low = (block ? tree.block(below) : tree.low(below)) + d * kBlockSize;
      const float* high = (block ? tree.block(below) : tree.high(below)) + d * kBlockSize;
      bound({low, count}, {high, count}, boxes[d * kBlockSize + c], boxes[(tree.dims + d) * kBlockSize + c]);
    }
    const std::int32_t* first = block ? tree.block_indices(below) : tree.lowest.data() + below * kBlockSize;
    // Read as unsigned, the -1 of a block's empty places is above all.
    tree.lowest[static_cast<std::size_t>(node * kBlockSize + c)] =
        *std::min_element(first, first + count, [](std::int32_t a, std::int32_t b) {
          return static_cast<std::uint32_t>(a) < static_cast<std::uint32_t>(b);
        });
  }
}

void fill_tree(const RaggedPoints& points, const Order& order, PointTree& tree,
               std::span<const std::size_t> num_finite, const ParallelFor& parallel_for) {
  parallel_for(tree.num_blocks(), 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const auto s = static_cast<std::size_t>(tree.set_of_block[static_cast<std::size_t>(block)]);
      const auto first = static_cast<std::size_t>((block - tree.sets[s].first_block) * kBlockSize);
      const auto count = std::min(static_cast<std::size_t>(kBlockSize), num_finite[s] - first);
      fill_block(points, {order.data() + points.row_splits[s] + first, count}, block, tree);
    }
  });
  parallel_for(points.num_sets(), 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      const SetTree& set = tree.sets[static_cast<std::size_t>(s)];
      std::int64_t nodes = set.num_blocks;
      for (int level = 0; level < set.num_levels; ++level) {
        nodes = blocks_for(nodes);
        for (std::int64_t number = 0; number < nodes; ++number) fill_node(tree, set, level, number);
      }
    }
  });
}

}  // namespace

PointTree build_point_tree(const RaggedPoints& points, const ParallelFor& parallel_for) {
  const auto num_sets = static_cast<std::size_t>(points.num_sets());
  PointTree tree;
  tree.dims = points.dims;
  tree.sets.resize(num_sets);
  tree.odd.resize(num_sets);
  Order order(static_cast<std::size_t>(points.size()));
  std::vector<std::size_t> num_finite(num_sets);
  parallel_for(points.num_sets(), 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto s = static_cast<std::size_t>(begin); s < static_cast<std::size_t>(end); ++s)
      num_finite[s] = separate(points, s, order, tree.odd[s]);
  });
  std::vector<Segment> segments;
  for (std::size_t s = 0; s < num_sets; ++s)
    if (num_finite[s] > 0) segments.emplace_back(order.data() + points.row_splits[s], num_finite[s]);
  sort_in_space(points, std::move(segments), parallel_for);

  const auto num_nodes = static_cast<std::size_t>(lay_out(tree, num_finite));
  const auto num_blocks = static_cast<std::size_t>(tree.num_blocks());
  const auto dims = static_cast<std::size_t>(tree.dims), lanes = static_cast<std::size_t>(kBlockSize);
  tree.coordinates.resize(num_blocks * dims * lanes);
  tree.indices.resize(num_blocks * lanes);
  tree.boxes.resize(num_nodes * 2 * dims * lanes);
  tree.lowest.resize(num_nodes * lanes);
  fill_tree(points, order, tree, num_finite, parallel_for);
  return tree;
}

}  // namespace bunchtrain::ops::detail
