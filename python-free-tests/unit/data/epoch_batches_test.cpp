// SPDX-License-Identifier: Apache-2.0
#include "loader/epoch_batches.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::data {
namespace {

using testing::ElementsAre;
using Numbers = std::vector<std::int64_t>;

Numbers to_splits(const Numbers& elements) {
  Numbers splits = {0};
  for (const auto count : elements) splits.push_back(splits.back() + count);
  return splits;
}

/// Batches of samples that have so many elements each.
class Cut {
 public:
  Cut(const Numbers& elements, BatchLimits limits, EpochOrder::Options order = {.shuffle = false},
      CollationPtr collation = make_ragged_collation())
      : splits_(to_splits(elements)), collation_(std::move(collation)) {
    const auto samples = static_cast<std::int64_t>(elements.size());
    std::vector<SampleRange> ranges;
    for (std::int64_t first = 0; first < samples; first += 8)
      ranges.push_back({.first = first, .count = std::min<std::int64_t>(8, samples - first)});
    batches_.emplace(std::make_shared<const EpochOrder>(ranges, order),
                     TakenElements{splits_, collation_.get()}, limits);
  }
  EpochBatches* operator->() { return &*batches_; }
  Numbers begins() {
    Numbers all;
    for (std::int64_t step = 0; step <= batches_->steps(); ++step) all.push_back(batches_->begin(step));
    return all;
  }
  Numbers elements() {
    Numbers all;
    for (std::int64_t step = 0; step < batches_->steps(); ++step)
      all.push_back(batches_->global_elements(step));
    return all;
  }

 private:
  Numbers splits_;
  CollationPtr collation_;
  std::optional<EpochBatches> batches_;
};

TEST(EpochBatchesTest, TakeWhatStaysWithinBothLimits) {
  Cut cut({3, 3, 3, 1, 0, 10, 0, 2, 0, 5, 1, 1, 1, 1, 1}, {.samples = 4, .elements = 6});
  // Ten elements are a batch by themselves, without the empty sample behind them; the last five are cut by number.
  EXPECT_THAT(cut.begins(), ElementsAre(0, 2, 5, 6, 9, 11, 15));
  EXPECT_THAT(cut.elements(), ElementsAre(6, 4, 10, 2, 6, 4));
  EXPECT_EQ(cut->global_samples(2), 1);
  EXPECT_EQ(cut->begin(100), 15) << "behind the last step";
  for (std::int64_t position = 0; position < 15; ++position) {
    const std::int64_t step = cut->step_at(position);
    EXPECT_LE(cut->begin(step), position);
    EXPECT_GT(cut->begin(step + 1), position);
  }
}

TEST(EpochBatchesTest, BudgetsAtTheirEdges) {
  const Numbers twos(6, 2);
  EXPECT_THAT(Cut(twos, {.samples = 100, .elements = 4}).begins(), ElementsAre(0, 2, 4, 6))
      << "exactly two fit";
  EXPECT_THAT(Cut(twos, {.samples = 100, .elements = 3}).begins(), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Cut(twos, {.samples = 100, .elements = 1}).begins(), ElementsAre(0, 1, 2, 3, 4, 5, 6))
      << "smaller than any sample";
  EXPECT_THAT(Cut(twos, {.samples = 100, .elements = 12}).begins(), ElementsAre(0, 6)) << "exactly all";
  EXPECT_THAT(Cut(twos, {.samples = 4, .elements = 12}).begins(), ElementsAre(0, 4, 6));
  EXPECT_THAT(Cut(Numbers(5, 0), {.samples = 2, .elements = 1}).begins(), ElementsAre(0, 2, 4, 5))
      << "all empty";
  EXPECT_THAT(Cut({7}, {.samples = 2, .elements = 3}).begins(), ElementsAre(0, 1)) << "one sample";
}

TEST(EpochBatchesTest, WithoutABudgetSamplesAloneCount) {
  Cut cut({5, 0, 7, 1, 2}, {.samples = 2});
  EXPECT_THAT(cut.begins(), ElementsAre(0, 2, 4, 5));
  EXPECT_THAT(cut.elements(), ElementsAre(5, 8, 2));
  EXPECT_EQ(cut->step_at(3), 1);
  EXPECT_THAT(Cut({1, 1, 1}, {.samples = std::numeric_limits<std::int64_t>::max()}).begins(),
              ElementsAre(0, 3));
  EpochBatches rows(
      std::make_shared<const EpochOrder>(std::vector<SampleRange>{{0, 5}}, EpochOrder::Options{}),
      TakenElements{}, {.samples = 2});
  EXPECT_EQ(rows.global_elements(0), 0) << "samples that are rows";
}

TEST(EpochBatchesTest, CountsWhatTheCollationTakes) {
  Cut cut({9, 9, 9, 1}, {.samples = 100, .elements = 8}, {.shuffle = false}, make_padded_collation(4));
  EXPECT_THAT(cut.begins(), ElementsAre(0, 2, 4));
  EXPECT_THAT(cut.elements(), ElementsAre(8, 5));
}

TEST(EpochBatchesTest, TheCutDoesNotDependOnWhatIsAskedFirst) {
  Numbers elements;
  RandomSequence random(CounterRandom(3, 1));
  for (int i = 0; i < 500; ++i) elements.push_back(static_cast<std::int64_t>(random.below(30)));
  const BatchLimits limits{.samples = 16, .elements = 90};
  for (const std::int64_t epoch : {0, 1}) {
    const EpochOrder::Options options{.seed = 5, .epoch = epoch, .streams = 4};
    Cut forward(elements, limits, options), backward(elements, limits, options),
        lazy(elements, limits, options);
    const Numbers begins = forward.begins();
    EXPECT_EQ(begins.back(), 500);
    EXPECT_EQ(backward->step_at(499), static_cast<std::int64_t>(begins.size()) - 2);
    EXPECT_EQ(backward.begins(), begins);
    EXPECT_EQ(lazy->begin(7), begins[7]);
    EXPECT_EQ(lazy->step_at(begins[3]), 3);
    EXPECT_EQ(lazy.begins(), begins);
    for (std::size_t step = 0; step + 1 < begins.size(); ++step) {
      const auto all = forward->global_elements(static_cast<std::int64_t>(step));
      EXPECT_LE(all, limits.elements);
      const bool full = begins[step + 1] - begins[step] == limits.samples || begins[step + 1] == 500;
      if (!full) {
        const auto next = static_cast<std::size_t>(forward->order()[begins[step + 1]]);
        EXPECT_GT(all + elements[next], limits.elements) << "the next sample would have fitted";
      }
    }
  }
}

}  // namespace
}  // namespace bunchtrain::data
