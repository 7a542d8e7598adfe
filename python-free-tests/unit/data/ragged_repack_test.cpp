// SPDX-License-Identifier: Apache-2.0
// Shards of ragged files hold every event once, with its own elements.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hit_dataset.hpp"
#include "bunchtrain/data/repack.hpp"
#include "hdf5_samples.hpp"
#include "support/message_of.hpp"

namespace bunchtrain::data {
namespace {

using test::message_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::size_t kWidth = 64;
constexpr int kEventsOfFirst = 500, kEvents = 700;

/// Hits of event i: every ninth event has none, the 40th more than a chunk.
std::size_t hits_of(int event) {
  if (event == 40) return 5000;
  return event % 9 == 0 ? 0 : static_cast<std::size_t>(event * 7 % 31);
}
float hit_value(int event, std::size_t hit, std::size_t column) {
  return static_cast<float>(event) * 8 + static_cast<float>(hit % 1000) / 8 + static_cast<float>(column) * 16;
}

struct Columns {
  std::vector<float> hits = {};          ///< [hits, 64]
  std::vector<std::int16_t> kinds = {};  ///< [hits]
  std::vector<std::int32_t> splits = {0}, counts = {}, numbers = {};

  void add(int event) {
    for (std::size_t hit = 0; hit < hits_of(event); ++hit) {
      for (std::size_t column = 0; column < kWidth; ++column) hits.push_back(hit_value(event, hit, column));
      kinds.push_back(static_cast<std::int16_t>(hit + static_cast<std::size_t>(event)));
    }
    counts.push_back(static_cast<std::int32_t>(hits_of(event)));
    splits.push_back(splits.back() + counts.back());
    numbers.push_back(event);
  }
};

class RaggedRepackTest : public Hdf5FilesTest {
 protected:
  std::string write(const std::string& name, const Columns& columns) const {
    const hid_t file = create_file(path(name));
    const hsize_t hits = columns.kinds.size(), events = columns.counts.size();
    write_floats(file, "hits", {hits, kWidth}, columns.hits,
                 {"", hits < 100 ? std::vector<hsize_t>() : std::vector<hsize_t>{100, kWidth}});
    write_dataset(file, "kind", H5T_STD_I16BE, H5T_NATIVE_INT16, {hits}, columns.kinds.data());
    write_dataset(file, "splits", H5T_STD_I32LE, H5T_NATIVE_INT32, {columns.splits.size()},
                  columns.splits.data());
    write_dataset(file, "event/hits", H5T_STD_U16LE, H5T_NATIVE_INT32, {events}, columns.counts.data());
    write_dataset(file, "event/number", H5T_STD_I32LE, H5T_NATIVE_INT32, {columns.numbers.size()},
                  columns.numbers.data());
    H5Fclose(file);
    return path(name);
  }
  std::string write(const std::string& name, int first, int end) const {
    Columns columns;
    for (int event = first; event < end; ++event) columns.add(event);
    return write(name, columns);
  }
  RepackOptions options(const std::string& out) const {
    return {.files = {write("a.h5", 0, kEventsOfFirst), write("b.h5", kEventsOfFirst, kEvents)},
            .out = path(out),
            .row_splits = "splits",
            .memory_bytes = 1 << 20};
  }
  std::string card(const std::string& name, const std::string& layout) const {
    std::ofstream(path(name)) << "card = 1\nkind = \"hits\"\n[layout]\n"
                              << layout << R"toml(
[[read.hit]]
from = "hits[0:1]"
columns = ["x"]
[[read.event]]
from = "event/number"
columns = ["number"]
[inputs]
features = ["hit.x"]
[output]
observers = ["event.number"]
)toml";
    return path(name);
  }
};

template <class Value>
std::vector<Value> read(const std::string& file, const char* dataset, hid_t type) {
  const hid_t opened = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t handle = H5Dopen2(opened, dataset, H5P_DEFAULT);
  const hid_t space = H5Dget_space(handle);
  std::vector<Value> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  EXPECT_GE(H5Dread(handle, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << dataset;
  H5Sclose(space);
  H5Dclose(handle);
  H5Fclose(opened);
  return values;
}

/// The events of a shard in their order, each compared with what was written of it.
std::vector<int> events_of(const std::string& shard) {
  const auto numbers = read<std::int32_t>(shard, "event/number", H5T_NATIVE_INT32);
  Columns expected;
  for (const int number : numbers) expected.add(number);
  EXPECT_EQ(read<std::int32_t>(shard, "splits", H5T_NATIVE_INT32), expected.splits);
  EXPECT_EQ(read<std::int32_t>(shard, "event/hits", H5T_NATIVE_INT32), expected.counts);
  EXPECT_EQ(read<std::int16_t>(shard, "kind", H5T_NATIVE_INT16), expected.kinds);
  EXPECT_TRUE(read<float>(shard, "hits", H5T_NATIVE_FLOAT) == expected.hits) << "hits of " << shard;
  return numbers;
}

std::vector<int> all_events(const fs::path& manifest) {
  std::vector<int> all;
  for (const auto& shard : shard_files(manifest, true)) {
    const auto events = events_of(shard.string());
    all.insert(all.end(), events.begin(), events.end());
  }
  return all;
}

std::vector<int> events_to(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

TEST_F(RaggedRepackTest, EveryEventOccursOnceWithItsElements) {
  for (const RepackFilter filter : {RepackFilter::none, RepackFilter::deflate})
    for (const std::int64_t shards : {1, 3}) {
      SCOPED_TRACE(testing::Message() << to_string(filter) << ", " << shards << " shards");
      RepackOptions wanted = options("out");
      wanted.filter = filter;
      wanted.shards = shards;
      wanted.force = true;
      std::int64_t last = 0, calls = 0;
      wanted.progress = [&](std::int64_t done, std::int64_t total) {
        EXPECT_GT(done, last);
        EXPECT_LE(done, total);
        last = done == total ? -1 : done;
        ++calls;
      };
      const RepackResult result = repack(wanted);
      EXPECT_EQ(last, -1) << "the last report says that all is done";
      EXPECT_GE(calls, 6) << "3.6 MB of hits in two parts";
      EXPECT_EQ(result.rows, kEvents);
      EXPECT_EQ(result.elements, 14444);
      EXPECT_EQ(all_events(result.manifest), events_to(kEvents)) << "in their order";
      wanted.progress = {};
      wanted.seed = 5;
      const auto shuffled = all_events(repack(wanted).manifest);
      EXPECT_NE(shuffled, events_to(kEvents));
      EXPECT_THAT(shuffled, testing::UnorderedElementsAreArray(events_to(kEvents)));
      wanted.memory_bytes = 1 << 28;
      EXPECT_EQ(all_events(repack(wanted).manifest), shuffled) << "memory changes no order";
    }
}

TEST_F(RaggedRepackTest, ElementsLieInChunksOfAMebibyte) {
  RepackOptions wanted = options("out");
  wanted.chunk_rows = 32;
  const fs::path manifest = repack(wanted).manifest;
  const hid_t file = H5Fopen(path("out/shard-00000.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const auto chunk_of = [file](const char* name) {
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT), list = H5Dget_create_plist(dataset);
    hsize_t chunk[2] = {0, 0};
    H5Pget_chunk(list, 2, chunk);
    H5Pclose(list);
    H5Dclose(dataset);
    return chunk[0];
  };
  EXPECT_EQ(chunk_of("hits"), 4096U);
  EXPECT_EQ(chunk_of("event/number"), 32U) << "rows of samples are as many as asked for";
  H5Fclose(file);
}

TEST_F(RaggedRepackTest, CardsSayWhichHitsAreWhose) {
  RepackOptions wanted = options("out");
  wanted.row_splits.clear();
  wanted.seed = 3;
  wanted.shards = 4;
  for (const std::string layout : {"row_splits = \"splits\"", "counts = \"event/hits\""}) {
    SCOPED_TRACE(layout);
    wanted.card = card("events.toml", "type = \"csr\"\n" + layout);
    wanted.force = true;
    wanted.datasets = {"hits", "event/number"};
    const HitDataset packed({.files = {repack(wanted).manifest.string()}});
    const HitDataset source({.files = wanted.files, .card = wanted.card});
    EXPECT_EQ(packed.size(), kEvents);
    EXPECT_EQ(packed.hits(), source.hits());
    const auto sums = [](const HitDataset& dataset) {
      std::map<int, double> by_event;
      DataLoader loader(dataset.all(), {.global_batch = 64, .shuffle = false});
      for (const Batch& batch : loader)
        for (std::int64_t i = 0; i < batch.size(); ++i)
          by_event[batch["observer.event.number"][i].item<int>()] =
              batch["features"]
                  .slice(0, batch["row_splits"][i].item<std::int64_t>(),
                         batch["row_splits"][i + 1].item<std::int64_t>())
                  .to(at::kDouble)
                  .sum()
                  .item<double>();
      return by_event;
    };
    EXPECT_EQ(sums(packed).size(), static_cast<std::size_t>(kEvents));
    EXPECT_EQ(sums(packed), sums(source));
  }
}

TEST_F(RaggedRepackTest, GoesOnWhereItWasInterrupted) {
  struct Stop {};
  RepackOptions wanted = options("out");
  wanted.shards = 5;
  wanted.seed = 8;
  repack(wanted);
  const auto expected = all_events(path("out/manifest.json"));
  fs::remove(path("out/manifest.json"));
  fs::remove(path("out/shard-00001.h5"));
  fs::remove(path("out/shard-00003.h5"));
  int calls = 0;
  wanted.progress = [&](std::int64_t, std::int64_t) {
    if (++calls == 4) throw Stop();
  };
  EXPECT_THROW(repack(wanted), Stop);
  EXPECT_FALSE(fs::exists(path("out/manifest.json")));
  wanted.progress = {};
  EXPECT_GE(repack(wanted).kept_shards, 3);
  EXPECT_EQ(all_events(path("out/manifest.json")), expected);
  wanted.row_splits = "event/hits";
  EXPECT_THAT(message_of([&] { repack(wanted); }), HasSubstr("row splits")) << "counts are none";
}

TEST_F(RaggedRepackTest, EventsWithoutHitsMakeShardsWithoutHits) {
  Columns columns;
  for (const int event : {0, 9, 1, 18}) columns.add(event);
  RepackOptions wanted{
      .files = {write("few.h5", columns)}, .out = path("out"), .row_splits = "/splits", .shards = 4};
  EXPECT_EQ(all_events(repack(wanted).manifest), (std::vector<int>{0, 9, 1, 18}));
}

TEST_F(RaggedRepackTest, AsManyHitsAsEventsAreTheCardsToTell) {
  Columns columns;
  for (const int event : {8, 9, 18, 27}) columns.add(event);  // 56 % 31 = 25 hits of the first
  columns.counts = {1, 2, 0, 1};
  columns.splits = {0, 1, 3, 3, 4};
  columns.hits.resize(4 * kWidth);
  columns.kinds.resize(4);
  RepackOptions wanted{.files = {write("same.h5", columns)}, .out = path("out"), .row_splits = "splits"};
  EXPECT_THAT(message_of([&] { repack(wanted); }),
              AllOf(HasSubstr("event/hits"), HasSubstr("its 4 rows may be those of samples or of elements"),
                    HasSubstr("card")));
  wanted.datasets = {"hits", "event/number"};
  wanted.card = card("events.toml", "type = \"csr\"\nrow_splits = \"splits\"");
  wanted.seed = 1;
  const auto shard = shard_files(repack(wanted).manifest, false).front().string();
  const auto numbers = read<std::int32_t>(shard, "event/number", H5T_NATIVE_INT32);
  EXPECT_THAT(numbers, testing::UnorderedElementsAre(8, 9, 18, 27));
  const auto splits = read<std::int32_t>(shard, "splits", H5T_NATIVE_INT32);
  const auto at = std::ranges::find(numbers, 9) - numbers.begin();
  const auto event = static_cast<std::size_t>(at);
  ASSERT_EQ(splits[event + 1] - splits[event], 2);
  const auto hits = read<float>(shard, "hits", H5T_NATIVE_FLOAT);
  EXPECT_EQ(hits[static_cast<std::size_t>(splits[event]) * kWidth], hit_value(8, 1, 0)) << "rows 1 and 2";
}

TEST_F(RaggedRepackTest, RefusesWhatSaysNotWhichHitsAreWhose) {
  const auto told = [&](const Columns& columns, const std::function<void(RepackOptions&)>& change = {}) {
    RepackOptions wanted{.files = {write("bad.h5", columns)}, .out = path("out"), .row_splits = "splits"};
    if (change) change(wanted);
    return message_of([&] { repack(wanted); });
  };
  Columns good;
  for (int event = 1; event < 5; ++event) good.add(event);
  Columns descending = good;
  std::swap(descending.splits[2], descending.splits[3]);
  EXPECT_THAT(told(descending), AllOf(HasSubstr("'splits'"), HasSubstr("descend at sample 2")));
  Columns late = good;
  late.splits.front() = 1;
  EXPECT_THAT(told(late), HasSubstr("begin at 1"));
  Columns shorter = good;
  shorter.splits.back() -= 1;
  EXPECT_THAT(told(shorter), AllOf(HasSubstr("'hits'"), HasSubstr("has 70 rows"),
                                   HasSubstr("with 69 elements"), HasSubstr("datasets")));
  Columns empty;
  EXPECT_THAT(told(empty), HasSubstr("holds no rows"));
  EXPECT_THAT(told(good, [](auto& o) { o.row_splits = "offsets"; }),
              AllOf(HasSubstr("no dataset 'offsets', which row_splits names"), HasSubstr("event/hits")));
  EXPECT_THAT(told(good, [](auto& o) { o.row_splits = "//"; }), HasSubstr("the name of a dataset"));
  EXPECT_THAT(told(good, [](auto& o) { o.row_splits = "hits"; }),
              HasSubstr("row_splits needs one number per row"));
  EXPECT_THAT(told(good, [](auto& o) { o.row_splits.clear(); }),
              AllOf(HasSubstr("different numbers of rows"), HasSubstr("row_splits = NAME")));
  EXPECT_THAT(told(good,
                   [&](auto& o) {
                     o.row_splits.clear();
                     o.card = card("flat.toml", "type = \"flat\"\nevent = \"event/number\"");
                   }),
              AllOf(HasSubstr("flat.toml"), HasSubstr("ascending numbers"), HasSubstr("with row splits")));
  EXPECT_THAT(told(good,
                   [&](auto& o) {
                     o.row_splits.clear();
                     o.card = card("member.toml", "type = \"csr\"\nrow_splits = \"event:splits\"");
                   }),
              HasSubstr("not a member of 'event'"));
  EXPECT_THAT(told(good,
                   [&](auto& o) {
                     Columns same = good;
                     same.numbers.resize(70);  // as many as there are hits
                     o.files.push_back(write("other.h5", same));
                   }),
              AllOf(HasSubstr("other.h5"), HasSubstr("differ")));
}

}  // namespace
}  // namespace bunchtrain::data
