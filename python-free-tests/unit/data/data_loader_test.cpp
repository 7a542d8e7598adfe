// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/data_loader.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/data/memory_dataset.hpp"

namespace {

// While set, all threads but one get no memory from `new`.
std::atomic<bool> starved = false;
std::thread::id starved_but_for;

}  // namespace

void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  if (starved && std::this_thread::get_id() != starved_but_for) return nullptr;
  return std::malloc(size);
}
// Of memory for tensors that come and go (RecycledTensors), which asks for an alignment.
std::atomic<std::int64_t> slabs_made = 0;

void* operator new(std::size_t size, std::align_val_t alignment) {
  ++slabs_made;
  const auto align = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(align, (size + align - 1) / align * align)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void* operator new(std::size_t size) {
  if (void* memory = ::operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace bunchtrain::data {
namespace {

using Ids = std::vector<std::int64_t>;

DatasetPtr numbered(std::int64_t samples, std::int64_t chunk = 40) {
  NamedTensors tensors;
  tensors.set("features", at::arange(samples, at::kFloat).unsqueeze(1).expand({samples, 4}));
  tensors.set("label", at::arange(samples, at::kLong).remainder(3));
  return make_memory_dataset(std::move(tensors), chunk);
}

/// Counts what the loader reads; fails or dawdles on request.
class WatchedDataset final : public Dataset {
 public:
  explicit WatchedDataset(DatasetPtr inner) : reads(inner->ranges().size()), inner_(std::move(inner)) {}
  std::int64_t size() const noexcept override { return inner_->size(); }
  std::span<const SampleRange> ranges() const noexcept override { return inner_->ranges(); }
  const DatasetSummary& summary() const override { return inner_->summary(); }
  SampleBlock read(std::size_t range) const override {
    ++reads[range];
    if (armed && range == failing) throw DataError("jets.h5, dataset 'x', rows 40 to 79: damaged");
    if (dawdle.count() > 0) std::this_thread::sleep_for(dawdle);
    return inner_->read(range);
  }

  mutable std::vector<std::atomic<int>> reads;
  std::size_t failing = 0;
  bool armed = false;
  std::chrono::microseconds dawdle{0};

 private:
  DatasetPtr inner_;
};

Ids to_ids(const Batch& batch) {
  const auto* begin = batch.sample_ids.const_data_ptr<std::int64_t>();
  return {begin, begin + batch.size()};
}

/// One epoch of all ranks, step by step, put together again in the order of positions.
Ids global_epoch(std::vector<DataLoader>& ranks, std::int64_t batch_size) {
  Ids sequence;
  const auto world = static_cast<std::int64_t>(ranks.size());
  while (true) {
    std::vector<std::optional<Batch>> shares;
    for (auto& rank : ranks) shares.push_back(rank.next());
    if (!shares[0]) {
      for (const auto& share : shares) EXPECT_FALSE(share) << "ranks end at different steps";
      return sequence;
    }
    std::vector<Ids> ids;
    std::int64_t total = 0;
    for (const auto& share : shares) {
      ids.push_back(to_ids(share.value()));
      total += share->size();
      EXPECT_EQ(share->global_size(), shares[0]->global_size());
      EXPECT_EQ(share->tensors["label"].size(0), share->size());
    }
    EXPECT_EQ(total, shares[0]->global_size());
    EXPECT_LE(total, batch_size);
    std::vector<std::size_t> used(ids.size());
    for (std::int64_t i = 0; i < total; ++i) {
      const auto rank = static_cast<std::size_t>(static_cast<std::int64_t>(sequence.size()) % world);
      sequence.push_back(ids[rank].at(used[rank]++));
    }
  }
}

std::vector<DataLoader> make_ranks(const DatasetPtr& dataset, int world, DataLoaderOptions options) {
  std::vector<DataLoader> ranks;
  for (int rank = 0; rank < world; ++rank) {
    options.rank = rank;
    options.world_size = world;
    ranks.emplace_back(dataset, options);
  }
  return ranks;
}

TEST(DataLoaderTest, EverySampleOnceInTheSameOrderForAnyWorldAndThreads) {
  for (const std::int64_t samples : {1, 7, 1000, 100003}) {
    const auto dataset = numbered(samples);
    const std::int64_t batch = samples < 8 ? 8 : samples < 2000 ? 60 : 1024;
    auto alone = make_ranks(dataset, 1, {.global_batch = batch});
    const Ids first = global_epoch(alone, batch);
    const Ids second = global_epoch(alone, batch);
    EXPECT_EQ(alone[0].epoch(), 2);
    Ids sorted = first;
    std::sort(sorted.begin(), sorted.end());
    Ids all(static_cast<std::size_t>(samples));
    std::iota(all.begin(), all.end(), 0);
    ASSERT_EQ(sorted, all);
    if (samples > 1) {
      EXPECT_NE(first, second);
    }

    for (int world = 1; world <= 8 && world <= samples; ++world) {
      // The large set would take long for every combination: threads 1 to 8 go along with the worlds.
      const std::vector<int> thread_counts = samples > 2000 ? std::vector{world} : std::vector{1, 2, 3, 8};
      for (const int threads : thread_counts) {
        auto ranks = make_ranks(dataset, world,
                                {.global_batch = batch, .threads = threads, .prefetch_bytes = 64 << 10});
        ASSERT_EQ(global_epoch(ranks, batch), first)
            << samples << " samples, world " << world << ", threads " << threads;
        if (samples < 2000) {
          ASSERT_EQ(global_epoch(ranks, batch), second) << "second epoch, world " << world;
        }
      }
    }
  }
}

TEST(DataLoaderTest, BatchesHoldTheSamplesTheyName) {
  DataLoader loader(numbered(1000), {.global_batch = 64, .threads = 3});
  std::int64_t step = 0;
  for (const Batch& batch : loader) {
    EXPECT_EQ(batch.step, step++);
    EXPECT_EQ(batch.epoch, 0);
    const Ids ids = to_ids(batch);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      const auto id = ids[static_cast<std::size_t>(i)];
      ASSERT_EQ(batch["features"][i][3].item<float>(), static_cast<float>(id));
      ASSERT_EQ(batch["label"][i].item<std::int64_t>(), id % 3);
    }
  }
  EXPECT_EQ(step, loader.steps_per_epoch());
  EXPECT_EQ(loader.epoch(), 1);
  EXPECT_EQ(loader.statistics().batches, step);
}

TEST(DataLoaderTest, StoredOrderWithoutShuffle) {
  for (const int world : {1, 3}) {
    auto ranks = make_ranks(numbered(250), world, {.global_batch = 64, .shuffle = false});
    for (std::int64_t step = 0; step < ranks[0].steps_per_epoch(); ++step) {
      Ids together;
      for (auto& rank : ranks) {
        const Ids mine = to_ids(rank.next().value());
        together.insert(together.end(), mine.begin(), mine.end());
      }
      Ids expected(static_cast<std::size_t>(std::min<std::int64_t>(64, 250 - 64 * step)));
      std::iota(expected.begin(), expected.end(), 64 * step);
      EXPECT_EQ(together, expected);
    }
  }
}

TEST(DataLoaderTest, UnevenLastBatchLeavesSomeRanksEmptyHanded) {
  auto ranks = make_ranks(numbered(65), 4, {.global_batch = 64});
  std::int64_t total = 0;
  for (auto& rank : ranks) {
    rank.next();
    const auto last = rank.next();
    ASSERT_TRUE(last);
    EXPECT_EQ(last->global_size(), 1);
    EXPECT_EQ(last->tensors["features"].sizes(), (std::vector<std::int64_t>{last->size(), 4}));
    total += last->size();
    EXPECT_FALSE(rank.next());
  }
  EXPECT_EQ(total, 1);
}

TEST(DataLoaderTest, ResumesAtRandomStepsWithAnotherWorldSize) {
  const auto dataset = numbered(3001);
  const std::int64_t batch = 100;
  auto undisturbed = make_ranks(dataset, 1, {.global_batch = batch});
  const Ids first = global_epoch(undisturbed, batch);
  const Ids second = global_epoch(undisturbed, batch);

  RandomSequence random(CounterRandom(4, 2));
  for (int trial = 0; trial < 12; ++trial) {
    // 31 steps; 31: the epoch is over, not yet left.
    const auto stop = static_cast<std::int64_t>(random.below(32));
    const auto world = static_cast<int>(random.below(6)) + 1;
    DataLoader before(dataset, {.global_batch = batch, .threads = 2});
    for (std::int64_t step = 0; step < stop; ++step) before.next();
    const StateDict state = before.state();

    auto ranks = make_ranks(dataset, world, {.global_batch = batch, .threads = world});
    for (auto& rank : ranks) rank.load(state);
    Ids rest;
    // Positions continue at stop * batch: the same puzzle as a whole epoch, seen from there.
    for (std::int64_t step = stop; step < ranks[0].steps_per_epoch(); ++step) {
      std::vector<Ids> ids;
      std::int64_t total = 0;
      for (auto& rank : ranks) {
        const auto share = rank.next();
        ASSERT_TRUE(share);
        EXPECT_EQ(share->step, step);
        ids.push_back(to_ids(*share));
        total += share->size();
      }
      std::vector<std::size_t> used(ids.size());
      for (std::int64_t i = 0; i < total; ++i) {
        const auto rank = static_cast<std::size_t>((step * batch + i) % world);
        rest.push_back(ids[rank].at(used[rank]++));
      }
    }
    for (auto& rank : ranks) EXPECT_FALSE(rank.next());
    ASSERT_EQ(rest, Ids(first.begin() + std::min<std::int64_t>(stop * batch, 3001), first.end()))
        << "stopped at " << stop << ", resumed by " << world;
    ASSERT_EQ(global_epoch(ranks, batch), second);
  }
}

TEST(DataLoaderTest, RefusesStateOfOtherData) {
  DataLoader loader(numbered(500), {.global_batch = 50});
  loader.next();
  const StateDict state = loader.state();
  DataLoader other_data(numbered(501), {.global_batch = 50});
  DataLoader other_batch(numbered(500), {.global_batch = 25});
  DataLoader other_seed(numbered(500), {.global_batch = 50, .seed = 9});
  EXPECT_THROW(other_data.load(state), CheckpointError);
  EXPECT_THROW(other_seed.load(state), CheckpointError);
  try {
    other_batch.load(state);
    FAIL() << "no exception";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("batch 50, here it is 25"));
  }
}

TEST(DataLoaderTest, RefusesStatesThatCannotBe) {
  struct Case {
    const char* key;
    std::int64_t value;
    std::vector<std::string> words;
  };
  for (const auto& [key, value, words] : std::vector<Case>{
           {"samples", 99, {"number of samples 99, here it is 100", "the same files, card and split"}},
           {"epoch", -1, {"epoch -1", "it is damaged"}},
           {"step", 11, {"step 11 of 10", "it is damaged"}}}) {
    DataLoader loader(numbered(100), {.global_batch = 10});
    StateDict state = loader.state();
    state.set(key, value);
    try {
      loader.load(state);
      ADD_FAILURE() << key << " = " << value << " was accepted";
    } catch (const CheckpointError& error) {
      for (const std::string& word : words) EXPECT_THAT(error.what(), testing::HasSubstr(word));
    }
  }
}

TEST(DataLoaderTest, EachChunkIsReadByOneRankOnce) {
  const auto dataset = std::make_shared<WatchedDataset>(numbered(48 * 40 * 10));
  auto ranks = make_ranks(dataset, 4, {.global_batch = 256, .prefetch_bytes = 200 << 10});
  global_epoch(ranks, 256);
  std::int64_t reads = 0;
  for (const auto& count : dataset->reads) reads += count;
  // The first range is looked at by every rank for its shapes; the next epoch is already being read ahead.
  const auto chunks = static_cast<std::int64_t>(dataset->reads.size());
  const std::int64_t ahead = 4 * ((200 << 10) / (40 * 24) + 4 * 256);
  EXPECT_GE(reads, chunks);
  EXPECT_LE(reads, chunks + 4 + ahead);
  ranks.clear();

  for (auto& count : dataset->reads) count = 0;
  auto fresh = make_ranks(dataset, 4, {.global_batch = 256, .prefetch_batches = 1, .prefetch_bytes = 1});
  for (std::int64_t step = 0; step < fresh[0].steps_per_epoch() - 2; ++step)
    for (auto& rank : fresh) rank.next();
  fresh.clear();
  int repeated = 0;
  for (std::size_t i = 1; i < dataset->reads.size(); ++i) repeated += dataset->reads[i] > 1;
  EXPECT_EQ(repeated, 0) << "chunks decoded twice";
}

TEST(DataLoaderTest, SmallDataIsDecodedOnce) {
  const auto dataset = std::make_shared<WatchedDataset>(numbered(2000));
  DataLoader loader(dataset, {.global_batch = 100, .threads = 2});
  for (int epoch = 0; epoch < 5; ++epoch)
    for ([[maybe_unused]] const Batch& batch : loader) continue;
  for (std::size_t i = 1; i < dataset->reads.size(); ++i) EXPECT_EQ(dataset->reads[i], 1) << "range " << i;
}

TEST(DataLoaderTest, MemoryStaysBounded) {
  const std::int64_t samples = 500000, sample_bytes = 24;
  const auto dataset = std::make_shared<WatchedDataset>(numbered(samples));
  const std::int64_t bound = 2 << 20;
  DataLoader loader(dataset, {.global_batch = 256, .threads = 3, .prefetch_bytes = bound});
  std::int64_t peak = 0;
  for (int epoch = 0; epoch < 2; ++epoch)
    for ([[maybe_unused]] const Batch& batch : loader) peak = std::max(peak, loader.statistics().bytes_peak);
  // What the shuffle window needs may exceed the bound by what is on its way: batches
  // and one chunk per thread.
  EXPECT_LE(peak, bound + (3 * 256 + 3 * 40) * sample_bytes);
  EXPECT_LT(peak, samples * sample_bytes / 4);
  EXPECT_GT(peak, 65536 * sample_bytes / 4) << "the window is held";
}

/// Ten thousand batches take turns in as many slabs as may be in use at once.
TEST(DataLoaderTest, SlabsStayAsManyOverTenThousandBatches) {
  NamedTensors tensors;
  tensors.set("image",
              at::arange(20000, at::kFloat).unsqueeze(1).expand({20000, 1050}));  // 8 are above 32 KiB
  const auto dataset = make_memory_dataset(std::move(tensors), 40);
  const std::int64_t before = slabs_made;
  DataLoader loader(dataset,
                    {.global_batch = 20, .threads = 2, .prefetch_batches = 3, .prefetch_bytes = 2 << 20});
  const auto take = [&](std::int64_t batches) {
    for (std::int64_t i = 0; i < batches;) i += loader.next() ? 1 : 0;
  };
  take(100);
  const std::int64_t peak = loader.statistics().bytes_peak;
  EXPECT_GT(slabs_made, before);
  take(9900);
  EXPECT_LE(slabs_made - before, 4 * 3 + 1) << "those made ahead where they are waited for, and one taken";
  EXPECT_LE(loader.statistics().bytes_peak, 2 * peak);
}

/// Keeps the lines that say how many batches are made ahead.
class DepthSink final : public LogSink {
 public:
  void write(LogLevel, std::string_view text) override {
    if (text.find("made ahead now") != std::string_view::npos) lines.emplace_back(text);
  }
  std::vector<std::string> lines;  // of the thread that takes batches
};

TEST(DataLoaderTest, MakesMoreAheadWhereItIsWaitedForAndMemoryAllows) {
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{256} << 20}) {
    const auto dataset = std::make_shared<WatchedDataset>(numbered(1600));
    dataset->dawdle = std::chrono::milliseconds(2);
    const auto sink = std::make_shared<DepthSink>();
    DataLoader loader(dataset, {.global_batch = 40,
                                .shuffle = false,
                                .prefetch_batches = 2,
                                .prefetch_bytes = bytes,
                                .logger = Logger(sink, LogLevel::debug)});
    while (loader.next()) continue;
    ASSERT_EQ(sink->lines.size(), bytes == 1 ? 0U : 6U);
    if (bytes > 1) {
      EXPECT_THAT(sink->lines.back(), testing::HasSubstr("8 are made ahead now"));
    }
  }
}

/// The waits that it tells of are those that a stopwatch around `next` sees, and what is left of a delay put in its way.
TEST(DataLoaderTest, TellsWhatShareOfTheTimeItWasWaitedFor) {
  using Clock = std::chrono::steady_clock;
  const auto dataset = std::make_shared<WatchedDataset>(numbered(1600));
  dataset->dawdle = std::chrono::milliseconds(30);  // each chunk, of which a batch is made
  DataLoader loader(dataset,
                    {.global_batch = 40, .shuffle = false, .prefetch_batches = 1, .prefetch_bytes = 1});
  loader.next();  // nothing is made beside it
  const LoaderStatistics before = loader.statistics();
  std::chrono::duration<double> waited{0}, worked{0};
  for (int batch = 1; batch < 40; ++batch) {
    const auto begin = Clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(12));
    const auto asked = Clock::now();
    ASSERT_TRUE(loader.next());
    worked += asked - begin;
    waited += Clock::now() - asked;
  }
  const double all = (waited + worked).count();
  const double told = loader.statistics().wait_seconds - before.wait_seconds;
  const double delay = loader.statistics().decode_seconds - before.decode_seconds;
  EXPECT_GE(delay, 39 * 0.030);
  EXPECT_NEAR(told / all, waited.count() / all, 0.02);
  EXPECT_GE(told / all, (delay - worked.count()) / all - 0.02)
      << "a batch is made while the one before is used; a busy machine only makes it later";
}

/// A few numbers, wherever the epoch stands; going on reads what the next batch needs and nothing of what is past.
TEST(DataLoaderTest, AStateIsSmallAndAsCheapToGoOnFromAnywhere) {
  constexpr std::int64_t kSamples = 400000;
  const auto dataset = std::make_shared<WatchedDataset>(numbered(kSamples));
  const DataLoaderOptions options{.global_batch = 100, .prefetch_batches = 1, .prefetch_bytes = 1};
  DataLoader loader(dataset, options);
  StateDict state = loader.state();
  state.set("epoch", std::int64_t{3});
  state.set("step", std::int64_t{3999});
  std::size_t bytes = 0;
  for (const auto& [name, value] : state.values) bytes += value.size();
  EXPECT_LE(bytes, 64U);
  std::vector<int> reads;
  for (const std::int64_t step : {1, 2000, 3999}) {
    state.set("step", step);
    for (auto& count : dataset->reads) count = 0;
    DataLoader resumed(dataset, options);
    resumed.load(state);
    ASSERT_EQ(resumed.next()->step, step);
    reads.push_back(0);
    for (const auto& count : dataset->reads) reads.back() += count;
  }
  for (const int count : reads) EXPECT_LE(count, 2 * 100 + 50) << "a chunk for each sample of a batch or two";
}

TEST(DataLoaderTest, TellsWhereTheTimeOfAnEpochWent) {
  const auto dataset = std::make_shared<WatchedDataset>(numbered(4000));
  dataset->dawdle = std::chrono::milliseconds(4);  // each of 100 chunks, while it is decoded
  DataLoader loader(dataset, {.global_batch = 100, .threads = 1, .prefetch_bytes = 1 << 10});
  double decoding = 0;
  for (int epoch = 0; epoch < 2; ++epoch) {
    const auto begin = std::chrono::steady_clock::now();
    for ([[maybe_unused]] const Batch& batch : loader) continue;
    const std::chrono::duration<double> lasted = std::chrono::steady_clock::now() - begin;
    const LoaderStatistics& statistics = loader.statistics();
    decoding += statistics.decode_seconds;
    EXPECT_EQ(statistics.batches, 40);
    EXPECT_EQ(statistics.slowest_stage(), "decoding");
    EXPECT_LE(statistics.wait_seconds, lasted.count());
    EXPECT_LE(statistics.wait_p50, statistics.wait_p99);
    EXPECT_LE(statistics.wait_p99, statistics.longest_wait);
    EXPECT_GT(statistics.longest_wait, 0);
    EXPECT_GE(statistics.decode.p50, 0.9 * 0.004) << "a range sleeps so long";
    EXPECT_LE(statistics.decode.p50, statistics.decode.p99);
    EXPECT_LE(statistics.assemble.p50, statistics.assemble.p99);
    EXPECT_LT(statistics.fetch.p99, statistics.decode.p50);
    EXPECT_GE(statistics.bytes_delivered, 4000 * 24);
    EXPECT_EQ(statistics.bytes_fetched, 0) << "of memory";
    EXPECT_GT(statistics.processor_seconds, 0);
    EXPECT_LT(statistics.processor_seconds, statistics.decode_seconds + statistics.assemble_seconds)
        << "sleep is no work";
    EXPECT_THAT(statistics.describe(), testing::HasSubstr("most work in decoding"));
  }
  EXPECT_GE(decoding, 2 * 100 * 0.004);
}

TEST(DataLoaderTest, ErrorsOfThreadsReachNext) {
  const auto dataset = std::make_shared<WatchedDataset>(numbered(1000));
  dataset->failing = 1;
  dataset->armed = true;
  DataLoader loader(dataset, {.global_batch = 100, .shuffle = false, .threads = 4});
  const auto read_all = [&] {
    for ([[maybe_unused]] const Batch& batch : loader) continue;
  };
  try {
    read_all();
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("rows 40 to 79: damaged"));
    EXPECT_THAT(error.what(), testing::HasSubstr("while reading step 0 of epoch 0"));
    EXPECT_EQ(error.context().size(), 1U);
  }
  try {
    loader.next();
    FAIL() << "a failed loader goes on";
  } catch (const DataError& error) {
    EXPECT_EQ(error.context().size(), 1U);
  }
}

TEST(DataLoaderTest, DeliversWhatComesBeforeTheError) {
  const auto dataset = std::make_shared<WatchedDataset>(numbered(1000));
  dataset->failing = 20;  // samples 800 to 839
  dataset->armed = true;
  DataLoader loader(dataset, {.global_batch = 100, .shuffle = false, .threads = 4});
  for (int step = 0; step < 8; ++step) ASSERT_TRUE(loader.next());
  EXPECT_THROW(loader.next(), DataError);
}

TEST(DataLoaderTest, ServesOthersWhileItWaits) {
  const auto dataset = std::make_shared<WatchedDataset>(numbered(1000));
  dataset->dawdle = std::chrono::milliseconds(200);
  int served = 0;
  DataLoader loader(dataset, {.global_batch = 100, .while_waiting = [&] { ++served; }});
  ASSERT_TRUE(loader.next());
  EXPECT_GT(served, 0);
  DataLoader ended(dataset,
                   {.global_batch = 100, .while_waiting = [] { throw CommError("rank 1 has ended"); }});
  EXPECT_THROW(ended.next(), CommError);
}

// Work outside reading and copying, here the planning of a batch, may fail too: the process goes on.
TEST(DataLoaderTest, LackOfMemoryInAThreadReachesNext) {
  DataLoader loader(numbered(1000), {.global_batch = 100});
  starved_but_for = std::this_thread::get_id();
  starved = true;
  EXPECT_THROW(loader.next(), std::bad_alloc);
  EXPECT_THROW(loader.next(), std::bad_alloc) << "a failed loader goes on";
  starved = false;
}

TEST(DataLoaderTest, EndsWhileThreadsAreReading) {
  const auto dataset = std::make_shared<WatchedDataset>(numbered(100000));
  dataset->dawdle = std::chrono::milliseconds(2);
  for (int i = 0; i < 5; ++i) {
    DataLoader loader(dataset, {.global_batch = 256, .shuffle = false, .threads = 8});
    loader.next();
  }
  SUCCEED() << "destructors returned";
}

TEST(DecodeOnTest, NamesAreThoseOfTheOption) {
  for (const char* name : {"auto", "host", "device"}) EXPECT_EQ(to_string(parse_decode_on(name)), name);
  try {
    parse_decode_on("gpu");
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("auto, host, device"));
  }
}

TEST(DataLoaderTest, RefusesImpossibleOptionsWithTheirNumbers) {
  const auto message = [](std::int64_t samples, DataLoaderOptions options) -> std::string {
    try {
      DataLoader loader(numbered(samples), options);
    } catch (const ConfigError& error) {
      return error.message();
    }
    return "no exception";
  };
  using testing::AllOf, testing::HasSubstr;
  EXPECT_THAT(message(100, {.global_batch = 3, .world_size = 4}),
              AllOf(HasSubstr("batch"), HasSubstr("3"), HasSubstr("4 ranks")));
  EXPECT_THAT(message(5, {.global_batch = 64, .world_size = 8}),
              AllOf(HasSubstr("5 samples"), HasSubstr("8 ranks")));
  EXPECT_THAT(message(100, {.global_batch = 0}), HasSubstr("batch"));
  EXPECT_THAT(message(100, {.rank = 2, .world_size = 2}), AllOf(HasSubstr("rank"), HasSubstr("0 to 1")));
  EXPECT_THAT(message(100, {.threads = 0}), HasSubstr("threads"));
  EXPECT_THAT(message(100, {.world_size = 0}),
              AllOf(HasSubstr("world_size"), HasSubstr("a positive number")));
  EXPECT_THAT(message(100, {.prefetch_batches = 0}),
              AllOf(HasSubstr("prefetch_batches"), HasSubstr("a positive number")));
  EXPECT_THAT(
      message(100, {.decode = DecodeOn::device}),
      AllOf(HasSubstr("decode = device cannot be had here: "), HasSubstr("auto takes the host"),
            testing::AnyOf(HasSubstr("batches stay on the CPU"), HasSubstr("this build has no CUDA"))));
  EXPECT_THAT(message(100, {.prefetch_bytes = 0}),
              AllOf(HasSubstr("prefetch_bytes"), HasSubstr("a positive number")));
}

}  // namespace
}  // namespace bunchtrain::data
