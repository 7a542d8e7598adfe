// SPDX-License-Identifier: Apache-2.0
// A loader tells engines which ranges it reads next.
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <mutex>

#include "bunchtrain/data/data_loader.hpp"
#include "io/engine.hpp"

namespace bunchtrain::data {
namespace {

/// Remembers what is read, and what it has been told before.
class ToldEngine final : public io::Engine {
 public:
  IoEngine kind() const noexcept override { return IoEngine::pread; }
  int score(const io::Request&) const override { return 1; }
  std::string why_not(const ByteSource&) const override { return {}; }
  void read(std::span<const Piece> pieces, std::span<std::byte> out) const override {
    std::ranges::fill(out, std::byte{});
    const std::lock_guard lock(mutex_);
    for (const Piece& piece : pieces) ++(told.contains(piece.offset) ? foreseen : surprising)[piece.offset];
  }
  void expect(std::span<const Piece> pieces) const override {
    const std::lock_guard lock(mutex_);
    for (const Piece& piece : pieces) ++told[piece.offset];
  }

  mutable std::map<std::uint64_t, int> foreseen, surprising, told;  // how often, by offset

 private:
  mutable std::mutex mutex_;
};

/// Ten numbers in each range, a range at every hundredth byte of a source.
class TellingDataset final : public Dataset {
 public:
  explicit TellingDataset(const ToldEngine& engine, bool shares_chunks = false)
      : source_(engine), shares_chunks_(shares_chunks) {
    for (std::int64_t range = 0; range < 40; ++range) ranges_.push_back({.first = 10 * range, .count = 10});
  }
  std::int64_t size() const noexcept override { return 400; }
  std::span<const SampleRange> ranges() const noexcept override { return ranges_; }
  const DatasetSummary& summary() const override { return summary_; }
  SampleBlock read(std::size_t range) const override {
    SampleBlock block{.tensors = {}, .range = ranges_[range]};
    block.tensors.set("x", at::ones({10}));
    return block;
  }
  ReadPlan plan(std::size_t range) const override {
    ++plans[range];
    ReadPlan plan{.pieces = {}, .shares_chunks = shares_chunks_};
    plan.add(source_, 100 * range, 8);
    return plan;
  }
  SampleBlock decode(std::size_t range, PlannedBytes) const override { return read(range); }

  mutable std::array<std::atomic<int>, 40> plans{};  // how often, by range

 private:
  class Source final : public ByteSource {
   public:
    explicit Source(const io::Engine& engine) : engine_(engine) {}
    const std::string& path() const noexcept override { return path_; }
    void read(std::uint64_t, std::span<std::byte>) const override {}
    bool is_file() const noexcept override { return true; }
    const io::Engine* engine() const noexcept override { return &engine_; }

   private:
    const io::Engine& engine_;
    std::string path_ = "source";
  };
  Source source_;
  bool shares_chunks_;
  std::vector<SampleRange> ranges_;
  DatasetSummary summary_;
};

TEST(ExpectedRangesTest, EnginesKnowWhatIsReadNext) {
  for (const int threads : {1, 3})
    for (const bool shuffle : {false, true}) {
      const ToldEngine engine;
      {
        DataLoader loader(std::make_shared<const TellingDataset>(engine),
                          {.global_batch = 20, .shuffle = shuffle, .threads = threads});
        while (loader.next()) continue;
      }
      EXPECT_EQ(engine.foreseen.size() + engine.surprising.size(), 40U);
      for (const auto& [offset, times] : engine.told) EXPECT_EQ(times, 1) << offset;
      if (threads > 1) continue;  // one may read what another is about to tell
      EXPECT_LE(engine.surprising.size(), 1U) << "the first one, which nobody waits for";
    }
}

TEST(ExpectedRangesTest, ARangeIsReadByThePlanThatEnginesWereToldOf) {
  for (const int threads : {1, 3}) {
    const ToldEngine engine;
    const auto dataset = std::make_shared<const TellingDataset>(engine);
    DataLoader loader(dataset, {.global_batch = 20, .threads = threads});
    while (loader.next()) continue;
    for (const auto& plans : dataset->plans) EXPECT_EQ(plans, 1);
  }
}

TEST(ExpectedRangesTest, ARangeThatSharesChunksIsPlannedAgainWhenItIsRead) {
  const ToldEngine engine;
  const auto dataset = std::make_shared<const TellingDataset>(engine, /*shares_chunks=*/true);
  DataLoader loader(dataset, {.global_batch = 20});
  while (loader.next()) continue;
  for (std::size_t range = 0; range < dataset->plans.size(); ++range)
    EXPECT_EQ(dataset->plans[range], 1 + static_cast<int>(engine.told.count(100 * range)));
}

TEST(ExpectedRangesTest, NothingIsToldOfWhatIsPast) {
  const ToldEngine engine;
  const auto dataset = std::make_shared<const TellingDataset>(engine);
  // Nothing is read ahead, so that no batch of the next epoch is near.
  const DataLoaderOptions options{
      .global_batch = 20, .shuffle = false, .prefetch_batches = 1, .prefetch_bytes = 1};
  StateDict state;
  {
    DataLoader first(dataset, options);
    for (int step = 0; step < 15; ++step) first.next();
    state = first.state();
  }
  engine.told.clear();
  {
    DataLoader resumed(dataset, options);
    resumed.load(state);
    ASSERT_TRUE(resumed.next());
    ASSERT_TRUE(resumed.next());
  }
  for (std::uint64_t range = 0; range < 30; ++range) EXPECT_FALSE(engine.told.contains(100 * range)) << range;
}

}  // namespace
}  // namespace bunchtrain::data
