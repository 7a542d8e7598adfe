// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/random.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace bunchtrain {
namespace {

using testing::ElementsAre;

// Vectors from the authors' Random123 distribution (kat_vectors, philox4x32 10).
TEST(RandomTest, PhiloxKnownAnswers) {
  EXPECT_THAT(philox4x32({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(RandomTest, SamePositionSameNumberWhateverTheOrder) {
  const CounterRandom random(7, 3);
  const double late = random.uniform(1000);
  for (std::uint64_t position = 0; position < 1000; ++position) static_cast<void>(random.uniform(position));
  EXPECT_EQ(random.uniform(1000), late);
  EXPECT_EQ(CounterRandom(7, 3).uniform(1000), late);
}

TEST(RandomTest, SeedsStreamsAndChildrenDiffer) {
  const std::set<std::uint64_t> seen{CounterRandom(1, 0).bits(0), CounterRandom(2, 0).bits(0),
                                     CounterRandom(1, 1).bits(0), CounterRandom(1, 0).child(0).bits(0),
                                     CounterRandom(1, 0).child(1).bits(0)};
  EXPECT_EQ(seen.size(), 5u);
}

TEST(RandomTest, Mix64IsInjectiveInItsSecondWord) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t b = 0; b < 10000; ++b) seen.insert(mix64(42, b));
  EXPECT_EQ(seen.size(), 10000u);
  EXPECT_NE(mix64(1, 2), mix64(2, 1));
}

TEST(RandomTest, UniformMomentsAndRange) {
  const CounterRandom random(11, 0);
  constexpr int kDraws = 200000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform(i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
}

TEST(RandomTest, NormalMoments) {
  const CounterRandom random(11, 1);
  constexpr int kDraws = 200000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal(i);
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0, 5 * std::sqrt(2.0 / kDraws));
}

TEST(RandomTest, BelowCoversItsRangeEvenly) {
  const CounterRandom random(5, 9);
  constexpr int kBins = 7;
  constexpr int kDraws = 70000;
  std::vector<int> counts(kBins);
  for (int i = 0; i < kDraws; ++i) ++counts[random.below(kBins, i)];
  for (const int count : counts) EXPECT_NEAR(count, kDraws / kBins, 5 * std::sqrt(kDraws / kBins));
}

// Two thirds of 2^64 rejects one draw in three: the retry must keep the result in range and even.
TEST(RandomTest, BelowWithALargeBoundIsUnbiased) {
  const CounterRandom random(5, 9);
  const std::uint64_t bound = 0xAAAAAAAAAAAAAAAB;
  int lower_half = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t value = random.below(bound, i);
    ASSERT_LT(value, bound);
    lower_half += value < bound / 2;
  }
  EXPECT_NEAR(lower_half, kDraws / 2, 5 * std::sqrt(kDraws / 4.0));
}

TEST(RandomTest, BelowOneIsAlwaysZero) { EXPECT_EQ(CounterRandom(1, 1).below(1, 123), 0u); }

TEST(RandomTest, SequenceWalksPositions) {
  const CounterRandom random(3, 4);
  RandomSequence sequence(random);
  EXPECT_EQ(sequence.uniform(), random.uniform(0));
  EXPECT_EQ(sequence.normal(), random.normal(1));
  EXPECT_EQ(sequence.below(10), random.below(10, 2));
}

}  // namespace
}  // namespace bunchtrain
