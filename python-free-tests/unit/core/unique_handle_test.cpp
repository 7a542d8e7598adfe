// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/detail/unique_handle.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace bunchtrain {
namespace {

std::vector<int> closed;

struct CountingTraits {
  using Handle = int;
  static Handle null() noexcept { return -1; }
  static void close(Handle handle) noexcept { closed.push_back(handle); }
};
using CountingHandle = UniqueHandle<CountingTraits>;

TEST(UniqueHandleTest, ClosesOnceAlsoAfterMoves) {
  closed.clear();
  {
    CountingHandle first(3);
    CountingHandle second = std::move(first);
    EXPECT_FALSE(first);
    CountingHandle third(4);
    third = std::move(second);
    EXPECT_THAT(closed, testing::ElementsAre(4));
    EXPECT_EQ(third.get(), 3);
  }
  EXPECT_THAT(closed, testing::ElementsAre(4, 3));
}

TEST(UniqueHandleTest, ReleaseGivesUpOwnership) {
  closed.clear();
  { EXPECT_EQ(CountingHandle(5).release(), 5); }
  EXPECT_TRUE(closed.empty());
}

}  // namespace
}  // namespace bunchtrain
