// SPDX-License-Identifier: Apache-2.0
#include "ragged_search.hpp"

#include <cmath>

#include "../knn_key.hpp"
#include "squared_distance.hpp"

namespace bunchtrain::ops::detail {
namespace {

void write_row(const RaggedRows& rows, std::int64_t point, std::span<const std::uint64_t> keys) {
  for (std::int64_t n = 0; n < rows.k; ++n) {
    const std::uint64_t key =
        n < static_cast<std::int64_t>(keys.size()) ? keys[static_cast<std::size_t>(n)] : kLastKey;
    rows.indices[point * rows.k + n] = static_cast<std::int32_t>(static_cast<std::uint32_t>(key));
    if (rows.squared_distances)
      rows.squared_distances[point * rows.k + n] = squared_distance_of(static_cast<std::uint32_t>(key >> 32));
  }
}

std::uint64_t key_of(float squared_distance, std::int64_t index) {
  return std::uint64_t{rank_of(squared_distance)} << 32 | static_cast<std::uint32_t>(index);
}

/// Calls `visit(index, coordinate 0)` for the points in a set's blocks; coordinates are kBlockSize apart.
template <class Visit>
void for_points(const PointTree& tree, const SetTree& set, Visit visit) {
  for (std::int64_t block = set.first_block; block < set.first_block + set.num_blocks; ++block)
    for (std::int64_t i = 0; i < kBlockSize && tree.block_indices(block)[i] >= 0; ++i)
      visit(tree.block_indices(block)[i], tree.block(block) + i);
}

float strided_distance(const PointTree& tree, const float* a, const float* b) {
  float sum = 0;
  for (std::int64_t d = 0; d < tree.dims; ++d) {
    const float difference = a[d * kBlockSize] - b[d * kBlockSize];
    sum = std::fma(difference, difference, sum);
  }
  return sum;
}

}  // namespace

void search_blocks_plain(const PointTree& tree, std::int64_t begin, std::int64_t end,
                         const RaggedRows& rows) {
  std::vector<std::uint64_t> keys;
  for (std::int64_t block = begin; block < end; ++block) {
    const auto s = static_cast<std::size_t>(tree.set_of_block[static_cast<std::size_t>(block)]);
    for (std::int64_t i = 0; i < kBlockSize && tree.block_indices(block)[i] >= 0; ++i) {
      const std::int32_t own = tree.block_indices(block)[i];
      keys.clear();
      for_points(tree, tree.sets[s], [&](std::int32_t index, const float* x) {
        if (index != own) keys.push_back(key_of(strided_distance(tree, tree.block(block) + i, x), index));
      });
      for (const std::int32_t index : tree.odd[s].infinite) keys.push_back(key_of(HUGE_VALF, index));
      for (const std::int32_t index : tree.odd[s].nan) keys.push_back(key_of(NAN, index));
      const auto found = std::min<std::size_t>(keys.size(), static_cast<std::size_t>(rows.k));
      std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(found), keys.end());
      write_row(rows, own, {keys.data(), found});
    }
  }
}

// A point with a NaN is at a NaN distance of all; one with an infinite coordinate at an infinite distance, or at
// NaN from others infinite in the same one. Either way the smallest indices are the neighbours.
void search_odd_points(const RaggedPoints& points, const PointTree& tree, std::int64_t set,
                       const RaggedRows& rows) {
  const auto s = static_cast<std::size_t>(set);
  const auto k = static_cast<std::size_t>(rows.k);
  const auto fill = [&](std::int32_t own, bool all_nan) {
    std::vector<std::uint64_t> numbers, nans;
    for (std::int64_t i = points.row_splits[s]; i < points.row_splits[s + 1]; ++i) {
      if (i == own) continue;
      const float distance =
          all_nan ? NAN : squared_distance(points.point(own), points.point(i), points.dims);
      auto& keys = std::isnan(distance) ? nans : numbers;
      if (keys.size() < k) keys.push_back(key_of(distance, i));
      if (numbers.size() == k || (all_nan && nans.size() == k)) break;
    }
    numbers.insert(numbers.end(), nans.begin(), nans.end());
    write_row(rows, own, {numbers.data(), std::min(k, numbers.size())});
  };
  for (const std::int32_t own : tree.odd[s].infinite) fill(own, false);
  for (const std::int32_t own : tree.odd[s].nan) fill(own, true);
}

}  // namespace bunchtrain::ops::detail
