// SPDX-License-Identifier: Apache-2.0
// Datasets of jets and showers are read in halves, by a program of one's own or by the loader.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>

#include <atomic>
#include <set>

#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/file_reading.hpp"
#include "bunchtrain/data/reading_benchmark.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "jet_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::HasSubstr;

using ReadingInHalvesTest = JetFileTest;

std::vector<std::byte> fetch_pieces(const ReadPlan& plan) {
  std::vector<std::byte> bytes(plan.bytes());
  std::span<std::byte> rest(bytes);
  for (const Piece& piece : plan.pieces) {
    piece.source->read(piece.offset, rest.first(piece.bytes));
    rest = rest.subspan(piece.bytes);
  }
  return bytes;
}

// Plans come first and bytes later, as from an engine that has many reads under way.
void expect_halves_make_what_is_read(const Dataset& dataset) {
  std::vector<ReadPlan> plans;
  for (std::size_t range = 0; range < dataset.ranges().size(); ++range) plans.push_back(dataset.plan(range));
  for (std::size_t range = plans.size(); range-- > 0;) {
    EXPECT_FALSE(plans[range].pieces.empty());
    const auto bytes = fetch_pieces(plans[range]);
    const SampleBlock block = dataset.decode(range, {plans[range], bytes});
    const SampleBlock expected = dataset.read(range);
    EXPECT_EQ(block.range.first, expected.range.first);
    EXPECT_EQ(block.range.count, expected.range.count);
    ASSERT_EQ(block.tensors.size(), expected.tensors.size());
    for (const auto& [name, tensor] : expected.tensors)
      EXPECT_TRUE(at::equal(block.tensors[name], tensor)) << name << " of range " << range;
  }
}

std::string refusal_to_decode(const Dataset& dataset, std::size_t range, const ReadPlan& plan) {
  const auto bytes = fetch_pieces(plan);
  try {
    dataset.decode(range, {plan, bytes});
  } catch (const DataError& error) {
    return error.what();
  }
  return "decoded";
}

TEST_F(ReadingInHalvesTest, JetsAreThoseThatReadGives) {
  const JetDataset jets({.files = {write_jets("a.h5"), write_jets("b.h5", {.rows = 130, .first_row = 500})},
                         .card = write_card()});
  expect_halves_make_what_is_read(*jets.all());
  const auto [train, valid] = jets.split({.valid_fraction = 0.3, .seed = 3});
  expect_halves_make_what_is_read(*train);
  expect_halves_make_what_is_read(*valid);
}

TEST_F(ReadingInHalvesTest, ShowersAreThoseThatReadGives) {
  Hdf5Writer writer(path("showers.h5"));
  writer.create_dataset("ECAL", at::ones({60, 25, 25, 25}), 8);
  writer.create_dataset("energy", at::arange(500, 560, at::kFloat), 60);
  writer.commit();
  const ShowerDataset showers({.files = {path("showers.h5")}, .card = "lcd_fixed", .select = false});
  expect_halves_make_what_is_read(*showers.all());
  EXPECT_THAT(refusal_to_decode(*showers.all(), 1, showers.all()->plan(0)), HasSubstr("showers.h5: "));
}

TEST_F(ReadingInHalvesTest, APlanOfAnotherRangeIsRefused) {
  const auto jets = JetDataset({.files = {write_jets("jets.h5")}, .card = write_card()}).all();
  EXPECT_EQ(refusal_to_decode(*jets, 2, jets->plan(2)), "decoded");
  EXPECT_THAT(
      refusal_to_decode(*jets, 2, jets->plan(1)),
      testing::AllOf(HasSubstr("jets.h5: "), HasSubstr("serves only the samples that it was made for")));
  ReadPlan longer = jets->plan(2);
  longer.pieces.push_back(longer.pieces.front());
  EXPECT_THAT(refusal_to_decode(*jets, 2, longer), HasSubstr("planned but not needed"));
  longer.pieces.resize(longer.pieces.size() - 2);
  EXPECT_THAT(refusal_to_decode(*jets, 2, longer), HasSubstr("the plan has no more"));
}

/// What it decodes must have been planned and fetched.
class WatchedHalves final : public Dataset {
 public:
  explicit WatchedHalves(DatasetPtr inner) : inner_(std::move(inner)) {}
  std::int64_t size() const noexcept override { return inner_->size(); }
  std::span<const SampleRange> ranges() const noexcept override { return inner_->ranges(); }
  const DatasetSummary& summary() const override { return inner_->summary(); }
  SampleBlock read(std::size_t range) const override {
    ++reads;
    return inner_->read(range);
  }
  ReadPlan plan(std::size_t range) const override {
    ++plans;
    return inner_->plan(range);
  }
  SampleBlock decode(std::size_t range, PlannedBytes bytes) const override {
    ++decodes;
    inner_->read(0);  // a dataset may read others: the bytes of this one stay
    return inner_->decode(range, bytes);
  }

  mutable std::atomic<std::size_t> reads = 0, plans = 0, decodes = 0;

 private:
  DatasetPtr inner_;
};

TEST_F(ReadingInHalvesTest, TheLoaderPlansFetchesDecodes) {
  const auto jets = JetDataset({.files = {write_jets("jets.h5")}, .card = write_card()}).all();
  for (const int threads : {1, 2}) {
    const auto halves = std::make_shared<const WatchedHalves>(jets);
    std::set<std::int64_t> seen;
    {
      DataLoader loader(halves, {.global_batch = 50, .threads = threads});
      while (const auto batch = loader.next())
        for (std::int64_t i = 0; i < batch->size(); ++i) {
          const auto row = batch->sample_ids[i].item<std::int64_t>();
          EXPECT_EQ(batch->tensors["observer.jet.pt"][i].item<double>(), 100.0 + static_cast<double>(row));
          seen.insert(row);
        }
    }
    EXPECT_EQ(seen.size(), 500U);
    EXPECT_GE(halves->plans, halves->decodes);
    EXPECT_LE(halves->plans, 2 * halves->decodes) << "once to tell the engines, once to fetch";
    EXPECT_GE(halves->decodes, jets->ranges().size());
    EXPECT_LE(halves->reads, 1U) << "names, types and shapes";
  }
}

/// What an epoch's batches hold, in their order.
std::string epoch_of(const DatasetPtr& jets, int threads) {
  Hasher hasher;
  DataLoader loader(jets, {.global_batch = 64, .threads = threads});
  while (const auto batch = loader.next()) {
    const auto add = [&](const at::Tensor& tensor) {
      const at::Tensor values = tensor.contiguous();
      hasher.update({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
    };
    add(batch->sample_ids);
    for (const auto& [name, tensor] : batch->tensors) add(tensor);
  }
  return hasher.hex();
}

TEST_F(ReadingInHalvesTest, EnginesAndThreadsChangeNothing) {
  const std::string file = write_jets("jets.h5"), card = write_card();
  const auto plain = JetDataset({.files = {file}, .card = card}).all();
  const std::string expected = epoch_of(plain, 1);
  EXPECT_THAT(plain->summary().paths.back(), testing::StartsWith("files: pread ("));
  for (const IoEngine engine : {IoEngine::pread, IoEngine::io_uring, IoEngine::hdf5}) {
    if (!describe_reading(file).unavailable.empty() && engine == IoEngine::io_uring) continue;
    const auto jets = JetDataset({.files = {file}, .card = card, .io = engine}).all();
    EXPECT_EQ(jets->summary().fingerprint, plain->summary().fingerprint) << to_string(engine);
    EXPECT_THAT(jets->summary().paths.back(), HasSubstr(std::string(to_string(engine)) + " (asked for)"));
    for (const int threads : {1, 2}) EXPECT_EQ(epoch_of(jets, threads), expected) << to_string(engine);
  }
}

TEST_F(ReadingInHalvesTest, ReadingIsDescribedAndMeasured) {
  const std::string file = write_jets("jets.h5");
  const FileReading reading = describe_reading(file);
  EXPECT_FALSE(reading.datasets.empty());
  for (const auto& dataset : reading.datasets)
    EXPECT_THAT(dataset.way, testing::StartsWith("pread")) << dataset.problem;
  for (const auto& dataset : reading.datasets) EXPECT_FALSE(dataset.plain) << dataset.way;
  Hdf5Writer writer(path("plain.h5"));
  writer.create_dataset("x", at::ones({60}), 8, 0);
  writer.commit();
  EXPECT_TRUE(describe_reading(path("plain.h5")).datasets.front().plain) << "without a filter";
  EXPECT_THAT(reading.choice, HasSubstr("fit in memory"));
  for (const bool cold : {false, true}) {
    const ReadingBenchmark measured =
        measure_reading({.file = file, .threads = {1, 2}, .cold = cold, .repeats = 1});
    EXPECT_GE(measured.speeds.size(), 4U) << "pread on one thread and two, H5Dread by chunks and by rows";
    for (const ReadingSpeed& speed : measured.speeds) {
      EXPECT_GT(speed.bytes_per_second, 0) << speed.way;
      EXPECT_GT(speed.bound, 0) << speed.way;
    }
    EXPECT_EQ(measured.speeds.back().way, "H5Dread by rows");
  }
  const auto told = [&](ReadingBenchmarkOptions options) {
    try {
      options.file = file;
      measure_reading(options);
    } catch (const ConfigError& error) {
      return error.message();
    }
    return std::string();
  };
  EXPECT_THAT(told({.threads = {}}), HasSubstr("threads"));
  EXPECT_THAT(told({.threads = {0}}), HasSubstr("1 to 1024"));
  EXPECT_THAT(told({.repeats = 0}), HasSubstr("repeats"));
  EXPECT_THAT(told({.most_bytes = 0}), HasSubstr("most_bytes"));
}

}  // namespace
}  // namespace bunchtrain::data
