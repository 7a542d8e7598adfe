// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/epoch_order.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {
namespace {

std::vector<SampleRange> even_ranges(std::int64_t samples, std::int64_t chunk) {
  std::vector<SampleRange> ranges;
  for (std::int64_t first = 0; first < samples; first += chunk)
    ranges.push_back({first, std::min(chunk, samples - first)});
  return ranges;
}

std::vector<std::int64_t> sequence(const EpochOrder& order) {
  std::vector<std::int64_t> samples;
  for (std::int64_t position = 0; position < order.size(); ++position) samples.push_back(order[position]);
  return samples;
}

void expect_each_once(const EpochOrder& order) {
  auto samples = sequence(order);
  std::sort(samples.begin(), samples.end());
  std::vector<std::int64_t> expected(samples.size());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(samples, expected);
}

TEST(EpochOrderTest, HoldsEverySampleOnce) {
  for (const std::int64_t samples : {1, 2, 7, 64, 1000, 100003})
    for (const std::int64_t chunk : {1, 40, 512})
      for (const std::int64_t streams : {1, 8, 48})
        for (const std::int64_t window : {0, 1, 700}) {
          SCOPED_TRACE(testing::Message() << samples << " samples, chunks of " << chunk << ", " << streams
                                          << " streams, window " << window);
          if (samples > 1000 && chunk == 1 && window != 700) continue;  // keeps the test short
          expect_each_once(
              EpochOrder(even_ranges(samples, chunk), {.streams = streams, .window_samples = window}));
        }
}

TEST(EpochOrderTest, HoldsEverySampleOfAMillionOnceWhateverTheWindow) {
  constexpr std::int64_t kMany = 1'000'003;
  for (const std::int64_t window : {std::int64_t{1}, std::int64_t{5000}, kMany, std::int64_t{0}}) {
    const EpochOrder order(even_ranges(kMany, 1000), {.seed = 2, .streams = 16, .window_samples = window});
    std::vector<bool> seen(kMany);
    for (std::int64_t p = 0; p < kMany; ++p) {
      const auto sample = static_cast<std::size_t>(order[p]);
      ASSERT_FALSE(seen[sample]) << "sample " << sample << " twice with window " << window;
      seen[sample] = true;
    }
  }
}

TEST(EpochOrderTest, HoldsEverySampleOnceWithUnevenAndEmptyChunks) {
  const std::vector<SampleRange> ranges = {{0, 3},    {3, 0},   {3, 500},   {503, 1},
                                           {504, 40}, {544, 0}, {544, 2000}};
  for (const std::int64_t streams : {1, 2, 3, 8}) {
    const EpochOrder order(ranges, {.streams = streams, .window_samples = 100});
    EXPECT_EQ(order.size(), 2544);
    EXPECT_EQ(order.reading_order().size(), 5U);
    expect_each_once(order);
  }
}

TEST(EpochOrderTest, IsAFunctionOfSeedAndEpoch) {
  const auto ranges = even_ranges(5000, 40);
  const auto base = sequence(EpochOrder(ranges, {.seed = 3, .epoch = 2, .window_samples = 1000}));
  EXPECT_EQ(base, sequence(EpochOrder(ranges, {.seed = 3, .epoch = 2, .window_samples = 1000})));
  EXPECT_NE(base, sequence(EpochOrder(ranges, {.seed = 3, .epoch = 3, .window_samples = 1000})));
  EXPECT_NE(base, sequence(EpochOrder(ranges, {.seed = 4, .epoch = 2, .window_samples = 1000})));
}

TEST(EpochOrderTest, ConsecutiveEpochsAreUncorrelated) {
  const std::int64_t samples = 20000;
  const auto ranges = even_ranges(samples, 40);
  std::vector<double> position_in_first(samples), position_in_second(samples);
  const EpochOrder first(ranges, {.seed = 5, .epoch = 0});
  const EpochOrder second(ranges, {.seed = 5, .epoch = 1});
  for (std::int64_t p = 0; p < samples; ++p) {
    position_in_first[static_cast<std::size_t>(first[p])] = static_cast<double>(p);
    position_in_second[static_cast<std::size_t>(second[p])] = static_cast<double>(p);
  }
  const double mean = (samples - 1) / 2.0;
  double covariance = 0;
  for (std::size_t i = 0; i < position_in_first.size(); ++i)
    covariance += (position_in_first[i] - mean) * (position_in_second[i] - mean);
  const double correlation = covariance / (static_cast<double>(samples) * samples * samples / 12.0);
  // Samples of one chunk move together at chunk level only in part: 500 chunks give 1/sqrt(500) = 0.045.
  EXPECT_LT(std::abs(correlation), 0.15);
}

TEST(EpochOrderTest, KeepsStoredOrderWithoutShuffle) {
  const EpochOrder order(even_ranges(1003, 40), {.shuffle = false});
  for (std::int64_t position = 0; position < order.size(); ++position) ASSERT_EQ(order[position], position);
  EXPECT_EQ(order.residence(0).first, 0);
  EXPECT_EQ(order.residence(0).last, 39);
  EXPECT_EQ(order.residence(25).last, 1002);
}

TEST(EpochOrderTest, GivesEveryStreamWholeChunks) {
  const auto ranges = even_ranges(8 * 40 * 30, 40);
  const EpochOrder order(ranges, {.streams = 8, .window_samples = 1600});
  std::vector<std::set<std::int64_t>> streams_of_chunk(ranges.size());
  for (std::int64_t p = 0; p < order.size(); ++p)
    streams_of_chunk[static_cast<std::size_t>(order[p] / 40)].insert(p % 8);
  for (std::size_t chunk = 0; chunk < ranges.size(); ++chunk) {
    ASSERT_EQ(streams_of_chunk[chunk].size(), 1U) << "chunk " << chunk;
    EXPECT_EQ(*streams_of_chunk[chunk].begin(), order.residence(chunk).stream);
  }
}

TEST(EpochOrderTest, ResidencesBoundWhereChunksAreUsed) {
  const std::vector<SampleRange> ranges = {{0, 300},   {300, 50},  {350, 700},
                                           {1050, 50}, {1100, 10}, {1110, 390}};
  const EpochOrder order(ranges, {.seed = 11, .streams = 3, .window_samples = 300});
  for (std::int64_t p = 0; p < order.size(); ++p) {
    std::size_t chunk = 0;
    while (order[p] >= ranges[chunk].first + ranges[chunk].count) ++chunk;
    EXPECT_LE(order.residence(chunk).first, p);
    EXPECT_GE(order.residence(chunk).last, p);
  }
  std::int64_t reached = 0;
  for (const auto chunk : order.reading_order()) {
    EXPECT_GE(order.residence(chunk).first, reached);
    reached = order.residence(chunk).first;
  }
}

TEST(EpochOrderTest, WindowBoundsWhatIsHeld) {
  const std::int64_t chunk = 50;
  const auto ranges = even_ranges(100000, chunk);
  const EpochOrder order(ranges, {.streams = 8, .window_samples = 4000});
  for (const std::int64_t position : {0, 777, 20000, 50000, 99000}) {
    std::int64_t held = 0;
    for (std::size_t i = 0; i < ranges.size(); ++i)
      if (order.residence(i).first <= position && position <= order.residence(i).last) held += chunk;
    EXPECT_LE(held, 4000 + 8 * chunk) << "at position " << position;
  }
}

// Every sample should come to every place equally often: chi-squared over many seeds.
TEST(EpochOrderTest, PlacesAreUniformForFewSamples) {
  constexpr int samples = 7, trials = 7000;
  std::array<std::array<int, samples>, samples> counts{};
  for (int seed = 0; seed < trials; ++seed) {
    const EpochOrder order(even_ranges(samples, samples), {.seed = static_cast<std::uint64_t>(seed)});
    for (int p = 0; p < samples; ++p)
      ++counts[static_cast<std::size_t>(order[p])][static_cast<std::size_t>(p)];
  }
  double chi_squared = 0;
  for (const auto& row : counts)
    for (const int count : row) chi_squared += std::pow(count - trials / samples, 2) / (trials / samples);
  EXPECT_LT(chi_squared, 80) << "36 degrees of freedom: 80 is exceeded once in 30,000";
}

constexpr std::int64_t kSorted = 200000, kClasses = 10, kBatch = 256, kChunk = 40;
constexpr double kPerfect =
    kBatch * (1.0 / kClasses) * (1 - 1.0 / kClasses);  // of the count of a class in a batch

/// Variance of the counts of classes in batches of data that are sorted by class, as signal after background, over that of
/// independent draws.
double inflation(const EpochOrder& order) {
  double squares = 0;
  const std::int64_t batches = kSorted / kBatch;
  for (std::int64_t b = 0; b < batches; ++b) {
    std::array<double, kClasses> counts{};
    for (std::int64_t p = b * kBatch; p < (b + 1) * kBatch; ++p)
      ++counts[static_cast<std::size_t>(order[p] * kClasses / kSorted)];
    for (const double count : counts) squares += std::pow(count - static_cast<double>(kBatch) / kClasses, 2);
  }
  return squares / static_cast<double>(batches * kClasses) / kPerfect;
}

/// Chunks of one class each are drawn into a window of W samples, and batches of B from the window, both without putting back:
/// (W - B) / (W - 1) + B / W c (N - W) / (N - c).
double predicted_inflation(std::int64_t window_samples) {
  const auto window = static_cast<double>(window_samples), batch = static_cast<double>(kBatch),
             chunk = static_cast<double>(kChunk), samples = static_cast<double>(kSorted);
  return (window - batch) / (window - 1) + batch / window * chunk * (samples - window) / (samples - chunk);
}

TEST(EpochOrderTest, MixesClassSortedDataAsPredicted) {
  const auto ranges = even_ranges(kSorted, kChunk);
  for (const std::int64_t window : {std::int64_t{2560}, std::int64_t{10240}, std::int64_t{25600}}) {
    double sum = 0;
    for (std::uint64_t seed = 0; seed < 4; ++seed)
      sum += inflation(EpochOrder(ranges, {.seed = seed, .window_samples = window}));
    EXPECT_NEAR(sum / 4, predicted_inflation(window), 0.1 * predicted_inflation(window)) << window;
  }
  auto chosen = choose_order(ranges, 2400, kBatch);
  EXPECT_EQ(chosen.window_samples, (std::int64_t{128} << 20) / 2400);
  EXPECT_EQ(chosen.streams, 48);
  chosen.seed = 9;
  const double predicted = predicted_inflation(chosen.window_samples);
  EXPECT_NEAR(inflation(EpochOrder(ranges, chosen)), predicted, 0.1 * predicted);
}

/// One window: within three standard deviations of what independent draws vary by.
TEST(EpochOrderTest, AnExactShuffleVariesAsIndependentDrawsDo) {
  const double deviation = std::sqrt(2.0 * kBatch / kSorted / (kClasses - 1));
  for (const std::int64_t chunk : {std::int64_t{1}, kChunk})
    for (std::uint64_t seed = 1; seed < 4; ++seed) {
      const EpochOrder order(even_ranges(kSorted, chunk), {.seed = seed, .window_samples = 0});
      EXPECT_NEAR(inflation(order), 1, 3 * deviation) << "seed " << seed << ", chunks of " << chunk;
    }
}

TEST(EpochOrderTest, ChoiceDependsOnDataAndBatchOnly) {
  const auto large_samples = choose_order(even_ranges(4000, 16), 62500, 128);
  EXPECT_EQ(large_samples.window_samples, (std::int64_t{128} << 20) / 62500) << "128 MiB bound the window";
  const auto huge_chunks = choose_order(even_ranges(100000, 20000), 5000, 256);
  EXPECT_EQ(huge_chunks.streams, 1) << "each stream holds a chunk in memory";
  const auto one_chunk = choose_order(even_ranges(7, 40), 5000, 4);
  EXPECT_EQ(one_chunk.streams, 1);
}

TEST(EpochOrderTest, RefusesImpossibleOptions) {
  EXPECT_THROW(EpochOrder(even_ranges(10, 5), {.streams = 0}), ConfigError);
  EXPECT_THROW(EpochOrder(even_ranges(10, 5), {.window_samples = -1}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::data
