// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/nearest.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bunchtrain {
namespace {

const std::vector<std::string> kNames = {"learning-rate", "batch", "epochs"};

TEST(SuggestTest, FindsTheNearestName) {
  EXPECT_EQ(nearest("epoch", kNames), "epochs");
  EXPECT_EQ(nearest("lerning-rate", kNames), "learning-rate");
}

TEST(SuggestTest, SuggestsNothingFarAway) { EXPECT_EQ(nearest("temperature", kNames), ""); }

}  // namespace
}  // namespace bunchtrain
