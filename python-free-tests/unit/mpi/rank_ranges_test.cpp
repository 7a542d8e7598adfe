// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/detail/rank_ranges.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bunchtrain::mpi {
namespace {

TEST(RankRangesTest, WritesRunsAsRanges) {
  EXPECT_EQ(rank_ranges(std::vector{3}), "rank 3");
  EXPECT_EQ(rank_ranges(std::vector{0, 1}), "ranks 0, 1");
  EXPECT_EQ(rank_ranges(std::vector{0, 1, 2, 5, 7, 8}), "ranks 0-2, 5, 7, 8");
}

}  // namespace
}  // namespace bunchtrain::mpi
