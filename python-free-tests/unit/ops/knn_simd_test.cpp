// SPDX-License-Identifier: Apache-2.0
// Every instruction set that this processor has finds the same keys as the plain loop.
#include <gtest/gtest.h>

#include <limits>

#include "bunchtrain/core/random.hpp"
#include "instruction_sets.hpp"
#include "knn/cpu/knn_cpu.hpp"
#include "knn/cpu/ragged_search.hpp"

namespace bunchtrain::test {
namespace {

using ops::detail::PointSet;

/// Coordinates on a coarse grid: many ties, next to distances that differ in the last bit.
std::vector<float> coordinates(std::int64_t points, std::int64_t dims) {
  RandomSequence random(CounterRandom(5, static_cast<std::uint64_t>(points * 1000 + dims)));
  std::vector<float> all(static_cast<std::size_t>(points * dims));
  for (float& x : all) x = static_cast<float>(random.below(7)) * 0.1F;
  return all;
}

class KnnInstructionSetsTest : public InstructionSetTest {};

TEST_P(KnnInstructionSetsTest, FindTheKeysOfThePlainLoop) {
  for (const std::int64_t size : {2, 7, 16, 33, 70, 128, 150}) {
    for (const std::int64_t dims : {1, 3, 16, 20}) {
      const auto points = coordinates(size, dims);
      PointSet<float> set{points.data(), size, dims, {}};
      for (std::int32_t i = 0; i < size; i += 1 + (i % 5 == 2)) set.real.push_back(i);
      const auto most = static_cast<std::int64_t>(set.real.size()) - 1;
      for (const std::int64_t count : {1, 5, 8, 9, 16, 17, 32, 33, 60}) {
        if (count > most) break;
        std::vector<std::uint64_t> keys, plain;
        select_nearest_keys(set, count, keys);
        select_nearest_keys_plain(set, count, plain);
        ASSERT_EQ(keys, plain) << size << " points, D " << dims << ", " << count << " neighbours";
      }
    }
  }
}

TEST_P(KnnInstructionSetsTest, SearchRaggedSetsAsThePlainLoopDoes) {
  const std::vector<std::int64_t> splits{0, 5, 5, 38, 400, 401};
  const auto serial = [](std::int64_t count, std::int64_t, const auto& part) { part(0, count); };
  for (std::int64_t dims = 1; dims <= 8; ++dims) {
    auto points = coordinates(splits.back(), dims);
    points[static_cast<std::size_t>(50 * dims)] = std::numeric_limits<float>::infinity();
    points[static_cast<std::size_t>(60 * dims)] = std::numeric_limits<float>::quiet_NaN();
    const auto tree = ops::detail::build_point_tree({points.data(), dims, splits}, serial);
    for (const std::int64_t k : {1, 16, 17, 40, 64}) {
      const auto size = static_cast<std::size_t>(splits.back() * k);
      std::vector<std::int32_t> found(size, -7), expected(size, -7);
      search_blocks(tree, 0, tree.num_blocks(), {k, found.data(), nullptr});
      search_blocks_plain(tree, 0, tree.num_blocks(), {k, expected.data(), nullptr});
      ASSERT_EQ(found, expected) << "D " << dims << ", " << k << " neighbours";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, KnnInstructionSetsTest, testing::ValuesIn(instruction_sets()),
                         name_of_instruction_set);

}  // namespace
}  // namespace bunchtrain::test
