// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <numeric>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/memory_dataset.hpp"

namespace bunchtrain::data {
namespace {

using testing::HasSubstr;
using Numbers = std::vector<std::int64_t>;

Numbers random_counts(std::int64_t samples, std::uint64_t most) {
  Numbers counts;
  RandomSequence random(CounterRandom(17, static_cast<std::uint64_t>(samples)));
  for (std::int64_t i = 0; i < samples; ++i)
    counts.push_back(static_cast<std::int64_t>(random.below(most + 1)));
  return counts;
}

/// Sample i has counts[i] hits (i, 0), (i, 1), ... and the label i mod 3.
DatasetPtr make_hits(const Numbers& counts, std::int64_t chunk = 8) {
  std::vector<float> hits;
  Numbers splits = {0};
  for (std::size_t i = 0; i < counts.size(); ++i) {
    for (std::int64_t hit = 0; hit < counts[i]; ++hit) {
      hits.push_back(static_cast<float>(i));
      hits.push_back(static_cast<float>(hit));
    }
    splits.push_back(splits.back() + counts[i]);
  }
  NamedTensors tensors;
  tensors.set("hits", hits.empty() ? at::empty({0, 2}) : at::tensor(hits).reshape({-1, 2}));
  tensors.set("label", at::arange(static_cast<std::int64_t>(counts.size()), at::kLong).remainder(3));
  return make_ragged_dataset(std::move(tensors), {"hits"}, at::tensor(splits, at::kLong), chunk);
}

Numbers to_numbers(const at::Tensor& tensor) {
  const auto* begin = tensor.const_data_ptr<std::int64_t>();
  return {begin, begin + tensor.numel()};
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

void expect_hits_of(const Batch& batch, const Numbers& counts) {
  const Numbers ids = to_numbers(batch.sample_ids), splits = to_numbers(batch["row_splits"]);
  ASSERT_EQ(splits.size(), ids.size() + 1);
  std::vector<float> expected;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto id = static_cast<std::size_t>(ids[i]);
    ASSERT_EQ(splits[i + 1] - splits[i], counts[id]);
    ASSERT_EQ(batch["label"][static_cast<std::int64_t>(i)].item<std::int64_t>(), ids[i] % 3);
    for (std::int64_t hit = 0; hit < counts[id]; ++hit) {
      expected.push_back(static_cast<float>(id));
      expected.push_back(static_cast<float>(hit));
    }
  }
  ASSERT_EQ(batch["hits"].size(0), batch.elements);
  const auto* hits = batch["hits"].const_data_ptr<float>();
  ASSERT_EQ(std::vector<float>(hits, hits + batch["hits"].numel()), expected);
}

/// A step of all ranks, put together in the order of positions; empty at the end of an epoch.
Numbers next_step(std::vector<DataLoader>& ranks, std::int64_t position, const Numbers& counts) {
  std::vector<Batch> shares;
  for (auto& rank : ranks)
    if (auto share = rank.next()) shares.push_back(std::move(*share));
  if (shares.empty()) return {};
  EXPECT_EQ(shares.size(), ranks.size()) << "ranks end at different steps";
  std::int64_t samples = 0, elements = 0;
  std::vector<Numbers> ids;
  for (const Batch& share : shares) {
    EXPECT_EQ(share.global_samples, shares[0].global_samples);
    EXPECT_EQ(share.global_elements, shares[0].global_elements);
    EXPECT_EQ(share.step, shares[0].step);
    expect_hits_of(share, counts);
    samples += share.size();
    elements += share.elements;
    ids.push_back(to_numbers(share.sample_ids));
  }
  EXPECT_EQ(samples, shares[0].global_samples);
  EXPECT_EQ(elements, shares[0].global_elements);
  Numbers together;
  std::vector<std::size_t> used(ids.size());
  for (std::int64_t i = 0; i < samples; ++i) {
    const auto rank = static_cast<std::size_t>((position + i) % static_cast<std::int64_t>(ranks.size()));
    together.push_back(ids[rank].at(used[rank]++));
  }
  return together;
}

/// The batches of the rest of an epoch, from the sample at `position` on.
std::vector<Numbers> rest_of_epoch(std::vector<DataLoader>& ranks, const Numbers& counts,
                                   std::int64_t position = 0) {
  std::vector<Numbers> steps;
  for (Numbers step; !(step = next_step(ranks, position, counts)).empty();) {
    position += static_cast<std::int64_t>(step.size());
    steps.push_back(std::move(step));
  }
  return steps;
}

void expect_every_sample_once(const std::vector<Numbers>& steps, std::size_t samples) {
  Numbers all;
  for (const Numbers& step : steps) all.insert(all.end(), step.begin(), step.end());
  std::sort(all.begin(), all.end());
  Numbers expected(samples);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

void expect_within(const std::vector<Numbers>& steps, const DataLoaderOptions& options,
                   const Numbers& counts) {
  for (const Numbers& step : steps) {
    std::int64_t elements = 0;
    for (const auto id : step) elements += counts[static_cast<std::size_t>(id)];
    EXPECT_LE(static_cast<std::int64_t>(step.size()), options.global_batch);
    if (options.global_elements > 0 && step.size() > 1) {
      EXPECT_LE(elements, options.global_elements);
    }
  }
}

TEST(RaggedLoaderTest, TheSameBatchesForAnyWorldAndThreads) {
  for (const Numbers& counts :
       {random_counts(1, 5), random_counts(9, 4), random_counts(400, 20), Numbers(30, 0)}) {
    const auto dataset = make_hits(counts);
    for (const std::int64_t budget : {0, 1, 20, 60, 100000}) {
      const DataLoaderOptions options{.global_batch = 16, .global_elements = budget, .prefetch_bytes = 2048};
      auto alone = make_ranks(dataset, 1, options);
      const auto first = rest_of_epoch(alone, counts), second = rest_of_epoch(alone, counts);
      expect_every_sample_once(first, counts.size());
      expect_every_sample_once(second, counts.size());
      expect_within(first, options, counts);
      for (int world = 2; world <= 8 && world <= static_cast<int>(counts.size()); ++world) {
        DataLoaderOptions together = options;
        together.threads = world % 4 + 1;
        auto ranks = make_ranks(dataset, world, together);
        EXPECT_EQ(rest_of_epoch(ranks, counts), first) << "world " << world << ", budget " << budget;
        EXPECT_EQ(rest_of_epoch(ranks, counts), second) << "second epoch";
      }
    }
  }
}

TEST(RaggedLoaderTest, StoredOrderIsCutByElementsToo) {
  const Numbers counts = {3, 3, 3, 1, 0, 10, 0, 2, 0, 5};
  for (const int world : {1, 2, 3}) {
    auto ranks =
        make_ranks(make_hits(counts, 3), world,
                   {.global_batch = 4, .global_elements = 6, .shuffle = false, .prefetch_bytes = 100});
    std::vector<Numbers> steps;
    while (true) {
      Numbers together;
      for (auto& rank : ranks)
        if (const auto share = rank.next()) {
          expect_hits_of(*share, counts);
          const Numbers ids = to_numbers(share->sample_ids);
          together.insert(together.end(), ids.begin(), ids.end());
        }
      if (together.empty()) break;
      steps.push_back(std::move(together));
    }
    EXPECT_EQ(steps, (std::vector<Numbers>{{0, 1}, {2, 3, 4}, {5}, {6, 7, 8}, {9}}));
  }
}

TEST(RaggedLoaderTest, ALoaderByItselfIsAsShortAsEver) {
  const Numbers counts = random_counts(100, 9);
  DataLoader loader(make_hits(counts), {.global_batch = 32, .global_elements = 50, .threads = 2});
  for (int epoch = 0; epoch < 3; ++epoch) {
    const std::int64_t expected = loader.steps_per_epoch();
    std::int64_t steps = 0;
    for (const Batch& batch : loader) {
      expect_hits_of(batch, counts);
      steps += batch.step == steps;
    }
    EXPECT_EQ(steps, expected) << "of this epoch";
  }
}

TEST(RaggedLoaderTest, ResumesAtAnyStepWithAnotherWorldSize) {
  const Numbers counts = random_counts(300, 12);
  const auto dataset = make_hits(counts);
  const DataLoaderOptions options{.global_batch = 16, .global_elements = 50};
  auto undisturbed = make_ranks(dataset, 1, options);
  const auto first = rest_of_epoch(undisturbed, counts), second = rest_of_epoch(undisturbed, counts);
  RandomSequence random(CounterRandom(4, 2));
  for (int trial = 0; trial < 12; ++trial) {
    const auto stop = static_cast<std::size_t>(random.below(first.size() + 1));
    DataLoader before(dataset, options);
    std::int64_t position = 0;
    for (std::size_t step = 0; step < stop; ++step) position += before.next()->global_samples;
    auto ranks = make_ranks(dataset, static_cast<int>(random.below(6)) + 1, options);
    for (auto& rank : ranks) rank.load(before.state());
    EXPECT_EQ(rest_of_epoch(ranks, counts, position),
              std::vector<Numbers>(first.begin() + static_cast<std::ptrdiff_t>(stop), first.end()))
        << "stopped at " << stop << ", resumed by " << ranks.size();
    EXPECT_EQ(rest_of_epoch(ranks, counts), second);
  }
}

std::string load_refusal(DataLoader loader, const StateDict& state) {
  try {
    loader.load(state);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RaggedLoaderTest, RefusesStatesOfOtherBatches) {
  const auto dataset = make_hits(random_counts(60, 6));
  const DataLoaderOptions options{.global_batch = 16, .global_elements = 30};
  DataLoader loader(dataset, options);
  loader.next();
  StateDict state = loader.state();
  DataLoaderOptions other_budget = options, other_collation = options;
  other_budget.global_elements = 31;
  other_collation.collation = make_padded_collation(8);
  EXPECT_THAT(load_refusal(DataLoader(dataset, other_budget), state),
              HasSubstr("a budget of elements of 30, here it is 31: resume with the same global_elements"));
  EXPECT_THAT(load_refusal(DataLoader(dataset, other_collation), state),
              HasSubstr("the collation ragged, here it is padded to 8"));
  state.set("step", std::int64_t{61});
  EXPECT_THAT(load_refusal(DataLoader(dataset, options), state), HasSubstr("it is damaged"));
}

TEST(RaggedLoaderTest, StatesOfOlderVersionsStayLoadable) {
  NamedTensors rows;
  rows.set("x", at::arange(100));
  const auto dataset = make_memory_dataset(std::move(rows));
  DataLoader before(dataset, {.global_batch = 10}), after(dataset, {.global_batch = 10});
  before.next();
  StateDict state = before.state();
  state.values.erase("elements");
  state.values.erase("collation");
  after.load(state);
  EXPECT_TRUE(after.next()->sample_ids.equal(before.next()->sample_ids));
}

TEST(RaggedLoaderTest, PaddedIsRaggedScattered) {
  constexpr std::int64_t kLength = 7;
  const Numbers counts = random_counts(200, 10);
  const auto dataset = make_hits(counts);
  DataLoader ragged(dataset, {.global_batch = 16});
  DataLoader padded(dataset, {.global_batch = 16, .collation = make_padded_collation(kLength)});
  std::int64_t truncated = 0;
  for (const Batch& batch : ragged) {
    const Batch other = padded.next().value();
    ASSERT_TRUE(other.sample_ids.equal(batch.sample_ids));
    const Numbers splits = to_numbers(batch["row_splits"]);
    at::Tensor hits = at::zeros({batch.size(), kLength, 2});
    at::Tensor mask = at::zeros({batch.size(), kLength}, at::kBool);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      const auto first = splits[static_cast<std::size_t>(i)], end = splits[static_cast<std::size_t>(i) + 1];
      const std::int64_t taken = std::min(end - first, kLength);
      truncated += end - first > kLength;
      hits[i].slice(0, 0, taken).copy_(batch["hits"].slice(0, first, first + taken));
      mask[i].slice(0, 0, taken).fill_(true);
    }
    EXPECT_TRUE(other["hits"].equal(hits));
    EXPECT_TRUE(other["mask"].equal(mask));
    EXPECT_EQ(other.elements, mask.sum().item<std::int64_t>()) << "what losses are means over";
    EXPECT_EQ(other.global_elements, other.elements);
  }
  EXPECT_GT(truncated, 0);
  EXPECT_FALSE(padded.next());
}

/// The sum of every sample's hits: what nobody but its author knows how to make.
class SumCollation final : public Collation {
 public:
  std::string kind() const override { return "sums"; }
  NamedTensors collate(std::span<const CollatedSample> samples, const SampleBlock& /*like*/,
                       std::span<const std::string> /*ragged*/,
                       const AllocateTensor& allocate) const override {
    NamedTensors batch;
    at::Tensor sums = allocate({static_cast<std::int64_t>(samples.size()), 2}, at::kFloat);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto& [block, row, first, elements] = samples[i];
      sums[static_cast<std::int64_t>(i)] = block->tensors["hits"].slice(0, first, first + elements).sum(0);
    }
    batch.set("sums", sums);
    return batch;
  }
  std::int64_t bytes(std::int64_t samples, std::int64_t, const SampleBlock&,
                     std::span<const std::string>) const override {
    return samples * 8;
  }
};

TEST(RaggedLoaderTest, ACollationOfOnesOwnWorks) {
  const Numbers counts = random_counts(50, 6);
  DataLoader loader(make_hits(counts), {.global_batch = 8, .collation = std::make_shared<SumCollation>()});
  std::int64_t seen = 0;
  for (const Batch& batch : loader)
    for (const auto id : to_numbers(batch.sample_ids)) {
      const auto hits = counts[static_cast<std::size_t>(id)];
      const at::Tensor sums = batch["sums"][seen++ % 8];
      EXPECT_EQ(sums[0].item<float>(), static_cast<float>(id * hits));
      EXPECT_EQ(sums[1].item<float>(), static_cast<float>(hits * (hits - 1) / 2));
    }
  EXPECT_EQ(seen, 50);
}

class NonsenseCollation final : public Collation {
 public:
  explicit NonsenseCollation(NamedTensors batch, NamedTensors empty = {{"x", at::empty({0})}})
      : batch_(std::move(batch)), empty_(std::move(empty)) {}
  std::string kind() const override { return "nonsense"; }
  NamedTensors collate(std::span<const CollatedSample> samples, const SampleBlock&,
                       std::span<const std::string>, const AllocateTensor&) const override {
    return samples.empty() ? empty_ : batch_;
  }
  std::int64_t bytes(std::int64_t, std::int64_t, const SampleBlock&,
                     std::span<const std::string>) const override {
    return 0;
  }

 private:
  NamedTensors batch_, empty_;
};

TEST(RaggedLoaderTest, SaysWhatACollationOfOnesOwnDidNotMake) {
  const auto message = [](NamedTensors batch) -> std::string {
    try {
      DataLoader(make_hits({2, 1, 3}),
                 {.global_batch = 3, .collation = std::make_shared<NonsenseCollation>(std::move(batch))})
          .next();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(message({}),
              HasSubstr("the collation 'nonsense' made no batch of 3 samples: there is no tensor"));
  EXPECT_THAT(message({{"x", at::Tensor()}}), HasSubstr("tensor 'x' is undefined"));
  EXPECT_THAT(message({{"x", at::empty({0, 4})}}), HasSubstr("none of its tensors has a row"));
  EXPECT_THAT(message({{"sample_ids", at::empty({3})}}), HasSubstr("'sample_ids' is the loader's own"));
  EXPECT_EQ(message({{"x", at::zeros({6})}}), "accepted");
}

/// Ragged in other ways than it should be.
class BentDataset final : public Dataset {
 public:
  explicit BentDataset(DatasetPtr inner)
      : names(inner->ragged().begin(), inner->ragged().end()),
        splits(inner->row_splits().begin(), inner->row_splits().end()),
        inner_(std::move(inner)) {}
  std::int64_t size() const noexcept override { return inner_->size(); }
  std::span<const SampleRange> ranges() const noexcept override { return inner_->ranges(); }
  const DatasetSummary& summary() const override { return inner_->summary(); }
  std::span<const std::string> ragged() const noexcept override { return names; }
  std::span<const std::int64_t> row_splits() const noexcept override { return splits; }
  SampleBlock read(std::size_t range) const override {
    SampleBlock block = inner_->read(range);
    if (range == 1 && bend) block.tensors = bend(block.tensors);
    return block;
  }

  std::vector<std::string> names;
  Numbers splits;
  std::function<NamedTensors(const NamedTensors&)> bend;

 private:
  DatasetPtr inner_;
};

TEST(RaggedLoaderTest, RowSplitsThatCannotBeAreDataErrors) {
  const auto refusal = [](const std::function<void(BentDataset&)>& bend) -> std::string {
    const auto dataset = std::make_shared<BentDataset>(make_hits({2, 1, 3, 2}, 2));
    bend(*dataset);
    try {
      DataLoader(dataset, {.global_batch = 4}).next();
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal([](BentDataset&) {}), "accepted");
  EXPECT_THAT(refusal([](BentDataset& bent) { bent.splits.pop_back(); }),
              HasSubstr("the row splits are 4 numbers, 4 samples need 5"));
  EXPECT_THAT(refusal([](BentDataset& bent) { bent.splits.front() = 1; }),
              HasSubstr("begin at 1, they must at 0"));
  EXPECT_THAT(refusal([](BentDataset& bent) { bent.splits[2] = 1; }),
              HasSubstr("descend at sample 1: from 2 to 1"));
  EXPECT_THAT(refusal([](BentDataset& bent) { bent.splits.back() = 9; }),
              HasSubstr("samples 2 to 3: tensor 'hits' has 5 rows, the row splits say 6"));
  EXPECT_THAT(refusal([](BentDataset& bent) { bent.names = {"cells"}; }),
              HasSubstr("names 'cells' among its ragged"));
}

TEST(RaggedLoaderTest, BlocksThatDifferAreDataErrors) {
  const auto refusal = [](const std::string& name, const at::Tensor& other) -> std::string {
    const auto dataset = std::make_shared<BentDataset>(make_hits({2, 1, 3, 2}, 2));
    dataset->bend = [&](const NamedTensors& tensors) {
      NamedTensors bent;
      for (const auto& [key, tensor] : tensors)
        if (key != name) bent.set(key, tensor);
      if (other.defined()) bent.set(name, other);
      return bent;
    };
    try {
      DataLoader(dataset, {.global_batch = 4}).next();
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal("label", {}), HasSubstr("samples 2 to 3: tensor 'label' is missing"));
  EXPECT_THAT(refusal("label", at::zeros({3}, at::kLong)),
              HasSubstr("has 3 rows, not 2, one for each sample"));
  EXPECT_THAT(refusal("label", at::zeros({2}, at::kInt)), HasSubstr("is Int [2], elsewhere it is Long []"));
  EXPECT_THAT(refusal("hits", at::zeros({5, 3})), HasSubstr("is Float [5, 3], elsewhere it is Float [2]"));
}

TEST(RaggedLoaderTest, MemoryCountsTheElementsThatSamplesHave) {
  Numbers counts(4000, 1);
  for (std::size_t i = 0; i < counts.size(); i += 400)
    counts[i] = 4000;  // ten of them hold nearly everything
  const auto dataset = make_hits(counts, 10);
  constexpr std::int64_t kHitBytes = 8, kBound = 64 << 10;
  const std::int64_t all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) * kHitBytes;
  DataLoader loader(dataset, {.global_batch = 16, .shuffle = false, .threads = 2, .prefetch_bytes = kBound});
  std::int64_t peak = 0;
  for ([[maybe_unused]] const Batch& batch : loader) peak = std::max(peak, loader.statistics().bytes_peak);
  EXPECT_GE(peak, 2 * 4000 * kHitBytes) << "a large chunk and a batch of it";
  EXPECT_LT(peak, kBound + 4 * 4010 * kHitBytes);
  EXPECT_LT(peak, all);
}

TEST(RaggedLoaderTest, SaysOnceHowManySamplesAreAboveTheBudget) {
  struct Sink : LogSink {
    void write(LogLevel, std::string_view text) override {
      const std::lock_guard lock(mutex);
      texts.emplace_back(text);
    }
    std::mutex mutex;
    std::vector<std::string> texts;
  };
  const auto sink = std::make_shared<Sink>();
  DataLoader loader(make_hits({2, 9, 3, 11, 1}),
                    {.global_batch = 5, .global_elements = 8, .logger = Logger(sink)});
  for (int epoch = 0; epoch < 2; ++epoch)
    for ([[maybe_unused]] const Batch& batch : loader) continue;
  ASSERT_EQ(sink->texts.size(), 1U);
  EXPECT_THAT(sink->texts[0],
              HasSubstr("5 samples with 26 elements, ragged, batches of 8 elements at most (2 samples "
                        "with more: each is a batch by itself)"));
}

/// Mostly short ones, some of them long, as jets and events are.
Numbers skewed_counts(std::int64_t samples) {
  Numbers counts = random_counts(samples, 12);
  for (std::size_t i = 0; i < counts.size(); i += 9) counts[i] = 40 + counts[i] * 10;
  return counts;
}

double padding_of(const DatasetPtr& dataset, std::int64_t bucket_batches) {
  DataLoader loader(dataset, {.global_batch = 48,
                              .length_bucket_batches = bucket_batches,
                              .collation = make_longest_collation(1000, 4)});
  for (const Batch& batch : loader) EXPECT_EQ(batch["mask"].sum().item<std::int64_t>(), batch.elements);
  return loader.statistics().padding();
}

TEST(RaggedLoaderTest, BucketsOfLengthsHaveEverySampleOnceInTheSameBatchesForAnyWorld) {
  const Numbers counts = skewed_counts(3001);
  const auto dataset = make_hits(counts, 20);
  std::vector<Numbers> alone;
  for (const int world : {1, 2, 3, 5})
    for (const int threads : {1, 3}) {
      auto ranks = make_ranks(
          dataset, world,
          {.global_batch = 60, .length_bucket_batches = 16, .threads = threads, .prefetch_bytes = 1 << 14});
      const auto first = rest_of_epoch(ranks, counts), second = rest_of_epoch(ranks, counts);
      expect_every_sample_once(first, counts.size());
      expect_every_sample_once(second, counts.size());
      EXPECT_NE(first, second);
      if (alone.empty()) alone = first;
      EXPECT_EQ(first, alone) << world << " ranks, " << threads << " threads";
    }
}

TEST(RaggedLoaderTest, BucketsOfLengthsTakeThePaddingAwayAndNotTheShuffle) {
  const auto dataset = make_hits(skewed_counts(6000), 20);
  const double without = padding_of(dataset, 0), with = padding_of(dataset, 64);
  EXPECT_GT(without, 3);
  EXPECT_LT(with - 1, 0.35 * (without - 1));
  // Long batches come at any time.
  DataLoader loader(dataset, {.global_batch = 48, .length_bucket_batches = 32});
  Numbers elements;
  for (const Batch& batch : loader) elements.push_back(batch.elements);
  std::int64_t changes = 0;
  for (std::size_t i = 1; i < elements.size(); ++i)
    changes += (elements[i] > 1000) != (elements[i - 1] > 1000) ? 1 : 0;
  EXPECT_GT(changes, 10);
}

TEST(RaggedLoaderTest, BucketsOfLengthsResumeAtAnyStepAndWorld) {
  const Numbers counts = skewed_counts(1500);
  const auto dataset = make_hits(counts, 20);
  const DataLoaderOptions options{.global_batch = 50, .length_bucket_batches = 8};
  auto whole = make_ranks(dataset, 2, options);
  const auto expected = rest_of_epoch(whole, counts);
  for (const std::int64_t stop : {1, 7, 8, 13, 29}) {
    DataLoader first(dataset, options);
    for (std::int64_t step = 0; step < stop; ++step) ASSERT_TRUE(first.next());
    auto rest = make_ranks(dataset, 3, options);
    for (auto& rank : rest) rank.load(first.state());
    EXPECT_EQ(rest_of_epoch(rest, counts, 50 * stop),
              std::vector<Numbers>(expected.begin() + stop, expected.end()));
    DataLoader other(dataset, {.global_batch = 50});
    EXPECT_THROW(other.load(first.state()), CheckpointError);
  }
}

TEST(RaggedLoaderTest, RefusesBudgetsThatCannotBe) {
  NamedTensors tensors;
  tensors.set("x", at::arange(10));
  const auto rows = make_memory_dataset(std::move(tensors));
  const auto message = [](const DatasetPtr& dataset, DataLoaderOptions options) -> std::string {
    try {
      DataLoader(dataset, std::move(options)).next();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(message(rows, {.global_batch = 4, .global_elements = 8}),
              HasSubstr("the dataset has no ragged tensors"));
  EXPECT_THAT(message(rows, {.global_batch = 4, .length_bucket_batches = 8}), HasSubstr("have one length"));
  EXPECT_THAT(message(make_hits({1, 2}), {.global_batch = 4, .length_bucket_batches = -1}),
              HasSubstr("length_bucket_batches"));
  EXPECT_THAT(
      message(make_hits({1, 2}), {.global_batch = 4, .global_elements = 9, .length_bucket_batches = 8}),
      HasSubstr("with a budget of elements"));
  EXPECT_THAT(message(make_hits({1, 2}), {.global_batch = 4, .global_elements = -1}),
              HasSubstr("global_elements"));
  EXPECT_THAT(message(make_hits({1, 2}), {.global_batch = 4, .collation = make_row_collation()}),
              HasSubstr("different numbers of rows in hits"));
}

}  // namespace
}  // namespace bunchtrain::data
