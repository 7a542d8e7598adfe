// SPDX-License-Identifier: Apache-2.0
// Shards hold every row once, aligned and in the order of their seed; manifests say when one is missing or altered.
#include "bunchtrain/data/repack.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/data/input_files.hpp"
#include "hdf5_samples.hpp"
#include "storage/chunk_map.hpp"
#include "storage/file_list.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

struct Event {
  float energy;
  std::int32_t number;
  char tag[3];
};

constexpr std::size_t kWidth = 40;

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.message();
  }
  ADD_FAILURE() << "no exception";
  return {};
}

class RepackTest : public Hdf5FilesTest {
 protected:
  /// Rows first .. first + rows: "cells" [rows, 40] with the row's number everywhere, "group/event" compounds with it.
  std::string write(const std::string& name, int first, std::size_t rows) const {
    std::vector<float> cells;
    std::vector<Event> events;
    for (std::size_t i = 0; i < rows; ++i) {
      const int number = first + static_cast<int>(i);
      cells.insert(cells.end(), kWidth, static_cast<float>(number));
      events.push_back(
          {static_cast<float>(number) / 2, number, {'a', 'b', static_cast<char>('0' + number % 10)}});
    }
    const hid_t file = create_file(path(name));
    write_floats(file, "cells", {rows, kWidth}, cells,
                 {"", {7, kWidth}, [](hid_t list) { H5Pset_deflate(list, 1); }});
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, 3);
    const hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(Event));
    H5Tinsert(type, "energy", offsetof(Event, energy), H5T_IEEE_F32LE);
    H5Tinsert(type, "number", offsetof(Event, number), H5T_STD_I32LE);
    H5Tinsert(type, "tag", offsetof(Event, tag), text);
    write_dataset(file, "group/event", type, type, {rows}, events.data());
    H5Tclose(type);
    H5Tclose(text);
    H5Fclose(file);
    return path(name);
  }

  RepackOptions options(const std::string& out) const {
    return {.files = {write("a.h5", 0, 300), write("b.h5", 300, 157)}, .out = path(out)};
  }
};

/// The numbers of the rows of a shard; both datasets must agree about them.
std::vector<int> rows_of(const fs::path& shard) {
  const OpenedFile file(shard);
  const StoredDataset cells = file.open("cells", false), events = file.open("group/event", false);
  std::vector<float> values(cells.layout().rows() * kWidth);
  cells.read(0, cells.layout().rows(), [&](std::size_t first, std::size_t rows, const std::byte* bytes) {
    std::memcpy(values.data() + first * kWidth, bytes, rows * kWidth * sizeof(float));
  });
  std::vector<Event> read(events.layout().rows());
  events.read(0, read.size(), [&](std::size_t first, std::size_t rows, const std::byte* bytes) {
    std::memcpy(read.data() + first, bytes, rows * sizeof(Event));
  });
  std::vector<int> numbers;
  for (std::size_t row = 0; row < read.size(); ++row) {
    numbers.push_back(read[row].number);
    EXPECT_EQ(read[row].tag[2], '0' + numbers.back() % 10);
    for (std::size_t i = 0; i < kWidth; ++i)
      EXPECT_EQ(values[row * kWidth + i], static_cast<float>(numbers.back()));
  }
  return numbers;
}

std::vector<int> all_rows(const fs::path& manifest) {
  std::vector<int> all;
  for (const auto& shard : shard_files(manifest, true)) {
    const auto rows = rows_of(shard);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

std::vector<int> numbers_to(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

TEST_F(RepackTest, KeepsEveryRowOnceOverShardsFiltersAndMemory) {
  for (const RepackFilter filter :
       {RepackFilter::none, RepackFilter::deflate, RepackFilter::zstd, RepackFilter::lz4})
    for (const std::int64_t shards : {1, 3}) {
      SCOPED_TRACE(testing::Message() << to_string(filter) << ", " << shards << " shards");
      RepackOptions wanted = options("out");
      wanted.filter = filter;
      wanted.shards = shards;
      wanted.chunk_rows = 16;
      wanted.force = true;
      EXPECT_EQ(repack(wanted).rows, 457);
      EXPECT_EQ(all_rows(path("out/manifest.json")), numbers_to(457)) << "in their order";
      wanted.seed = 5;
      const auto result = repack(wanted);
      const auto shuffled = all_rows(result.manifest);
      EXPECT_NE(shuffled, numbers_to(457));
      EXPECT_THAT(shuffled, testing::UnorderedElementsAreArray(numbers_to(457)));
      EXPECT_EQ(result.plugin, filter == RepackFilter::zstd  ? "zstd (32015)"
                               : filter == RepackFilter::lz4 ? "lz4 (32004)"
                                                             : "");
      EXPECT_EQ(H5Zfilter_avail(32015), 0) << "a filter that can only write was left behind";
    }
}

TEST_F(RepackTest, MemoryDoesNotChangeTheOrder) {
  RepackOptions wanted{.files = {write("big.h5", 0, 20000)}, .out = path("whole"), .shards = 2, .seed = 11};
  wanted.chunk_rows = 64;
  repack(wanted);
  wanted.out = path("in parts");
  wanted.memory_bytes = 1 << 20;  // 3.2 MB of cells
  std::int64_t last = 0, calls = 0;
  wanted.progress = [&](std::int64_t done, std::int64_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, 40000);
    last = done;
    ++calls;
  };
  repack(wanted);
  EXPECT_EQ(last, 40000);
  EXPECT_GT(calls, 6);
  EXPECT_EQ(all_rows(path("whole/manifest.json")), all_rows(path("in parts/manifest.json")));
}

TEST_F(RepackTest, DatasetsAndChunksAreAligned) {
  RepackOptions wanted = options("out");
  wanted.chunk_rows = 32;  // 5120 bytes
  repack(wanted);
  const std::string shard = path("out/shard-00000.h5");
  const hdf5::LibraryLock lock;
  const hdf5::File file = hdf5::open_read_only(shard);
  const hdf5::Dataset dataset(H5Dopen2(file.get(), "cells", H5P_DEFAULT));
  const DatasetLayout layout = describe_dataset(dataset.get(), "cells", shard);
  EXPECT_THAT(layout.chunk, ElementsAre(32, kWidth));
  const ChunkMap map = map_chunks(file.get(), dataset.get(), layout, FileBytes(shard), shard);
  ASSERT_EQ(map.chunks.size(), 15U);
  for (const StoredChunk& chunk : map.chunks) EXPECT_EQ(chunk.offset % 4096, 0U);
}

TEST_F(RepackTest, GoesOnWhereItWasInterrupted) {
  struct Stop {};
  RepackOptions wanted = options("out");
  wanted.shards = 4;
  wanted.seed = 3;
  wanted.chunk_rows = 16;
  repack(wanted);
  const auto expected = all_rows(path("out/manifest.json"));
  fs::remove(path("out/manifest.json"));
  fs::remove(path("out/shard-00002.h5"));
  const auto untouched = fs::last_write_time(path("out/shard-00001.h5"));
  wanted.progress = [](std::int64_t, std::int64_t) { throw Stop(); };
  EXPECT_THROW(repack(wanted), Stop);
  EXPECT_FALSE(fs::exists(path("out/shard-00002.h5"))) << "half a shard";
  wanted.progress = {};
  const RepackResult result = repack(wanted);
  EXPECT_EQ(result.kept_shards, 3);
  EXPECT_EQ(fs::last_write_time(path("out/shard-00001.h5")), untouched);
  EXPECT_EQ(all_rows(result.manifest), expected);
  wanted.seed = 4;
  EXPECT_THAT(refusal([&] { repack(wanted); }),
              AllOf(HasSubstr("shards of another repack"), HasSubstr("shard-00000.h5"), HasSubstr("force")));
  wanted.force = true;
  EXPECT_EQ(repack(wanted).kept_shards, 0);
  EXPECT_NE(all_rows(result.manifest), expected);
}

TEST_F(RepackTest, RefusesWhatItCannotWriteWithTheWayOut) {
  const auto wanted = options("out");
  const auto told = [&](const std::function<void(RepackOptions&)>& change) {
    RepackOptions other = wanted;
    change(other);
    return refusal([&] { repack(other); });
  };
  EXPECT_THAT(told([&](auto& o) { o.out = path("."); }),
              AllOf(HasSubstr("holds no input"), HasSubstr("a.h5")));
  EXPECT_THAT(told([](auto& o) { o.shards = 0; }), HasSubstr("shards"));
  EXPECT_THAT(told([](auto& o) { o.shards = 1000; }), HasSubstr("at most the 457 rows"));
  EXPECT_THAT(told([](auto& o) { o.alignment = 0; }), HasSubstr("align"));
  EXPECT_THAT(told([](auto& o) { o.chunk_rows = -1; }), HasSubstr("0 for auto"));
  EXPECT_THAT(told([](auto& o) { o.memory_bytes = 1; }), HasSubstr("at least 1 MiB"));
  EXPECT_THAT(told([](auto& o) { o.out.clear(); }), HasSubstr("a folder for the shards"));
  EXPECT_THAT(told([&](auto& o) { o.out = path("a.h5/out"); }), HasSubstr("a folder that can be made"));
  EXPECT_THAT(told([](auto& o) { o.datasets = {"cell"}; }),
              AllOf(HasSubstr("a.h5"), HasSubstr("group/event")));
  EXPECT_THAT(refusal([] { parse_repack_filter("gzip"); }), HasSubstr("none, deflate, zstd, lz4"));

  const hid_t file = create_file(path("odd.h5"));
  write_floats(file, "few", {3}, {1, 2, 3});
  write_floats(file, "many", {4}, {1, 2, 3, 4});
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, H5T_VARIABLE);
  const std::vector<const char*> words = {"a", "b", "c", "d"};
  write_dataset(file, "names", text, text, {4}, words.data());
  H5Tclose(text);
  write_floats(file, "none", {0}, {});
  H5Fclose(file);
  const auto odd = [&](std::vector<std::string> datasets) {
    return told([&](auto& o) {
      o.files = {path("odd.h5")};
      o.datasets = std::move(datasets);
    });
  };
  EXPECT_THAT(odd({}),
              AllOf(HasSubstr("different numbers of rows"), HasSubstr("3 rows: few; 4 rows: many, names")));
  EXPECT_THAT(odd({"many", "names"}), AllOf(HasSubstr("'names': holds texts"), HasSubstr("datasets")));
  EXPECT_THAT(odd({"none"}), HasSubstr("holds no rows"));
  H5Fclose(create_file(path("empty.h5")));
  EXPECT_THAT(told([&](auto& o) { o.files = {path("empty.h5")}; }), HasSubstr("holds no datasets"));
  EXPECT_THAT(told([&](auto& o) {
                o.files = {path("odd.h5"), path("a.h5")};
                o.datasets = {};
              }),
              HasSubstr("different numbers of rows"));
  const hid_t other = create_file(path("wide.h5"));
  write_floats(other, "cells", {2, 3}, {1, 2, 3, 4, 5, 6});
  H5Fclose(other);
  EXPECT_THAT(told([&](auto& o) {
                o.files = {path("a.h5"), path("wide.h5")};
                o.datasets = {"cells"};
              }),
              AllOf(HasSubstr("wide.h5"), HasSubstr("another type or shape")));
  EXPECT_THAT(told([&](auto& o) {
                o.files = {path("wide.h5"), path("a.h5")};
              }),
              AllOf(HasSubstr("a.h5: has the datasets"), HasSubstr("one layout")));
}

TEST_F(RepackTest, ManifestsStandForTheirShardsAndSayWhatIsWrong) {
  RepackOptions wanted = options("out");
  wanted.shards = 3;
  wanted.card = "toy_jets";
  const auto result = repack(wanted);
  const std::string manifest = result.manifest.string();
  const std::vector<std::string> words = {manifest};
  EXPECT_EQ(input_files(words).size(), 3U);
  EXPECT_EQ(card_of_manifests(words), "toy_jets");
  const ShardManifest read = read_manifest(manifest);
  EXPECT_EQ(read.rows(), 457);
  EXPECT_EQ(read_manifest(manifest).shards[1].file, "shard-00001.h5");
  EXPECT_THAT(refusal([&] {
                input_files(std::vector<std::string>{manifest, path("out/shard-00001.h5")});
              }),
              HasSubstr("named twice"));

  const auto damaged = [&](const std::function<void(ShardManifest&)>& change) {
    ShardManifest other = read;
    change(other);
    write_file_atomically(path("out/other.json"), to_json(other));
    return refusal([&] { shard_files(path("out/other.json"), true); });
  };
  EXPECT_THAT(damaged([](auto& m) { m.shards[1] = m.shards[0]; }), HasSubstr("lists shard-00000.h5 twice"));
  EXPECT_THAT(damaged([](auto& m) { m.shards[1].file = "lost.h5"; }),
              AllOf(HasSubstr("lost.h5: is not there"), HasSubstr("put it back")));
  EXPECT_THAT(damaged([](auto& m) { m.shards[1].bytes += 1; }), HasSubstr("was altered or is not whole"));
  EXPECT_THAT(damaged([](auto& m) { m.shards[1].hash = hash_hex("else"); }),
              HasSubstr("its contents are not those"));
  EXPECT_THAT(damaged([](auto& m) { m.shards[1].file = "../a.h5"; }),
              HasSubstr("a name in the manifest's folder"));
  EXPECT_THAT(damaged([](auto& m) { m.shards[1].rows = 0; }), HasSubstr("has no rows"));

  const auto text = [&](const std::string& json) {
    write_file_atomically(path("out/text.json"), json);
    return refusal([&] { read_manifest(path("out/text.json")); });
  };
  const std::string head = R"({"format": "bunchtrain shards", "version": 1, )";
  EXPECT_THAT(text("{"), AllOf(HasSubstr("is no JSON"), HasSubstr("docs/repack.md")));
  EXPECT_THAT(text(std::string(100000, '[')), HasSubstr("lists in lists"));
  EXPECT_THAT(text("{}"), HasSubstr("\"format\" must be"));
  EXPECT_THAT(text(R"({"format": "bunchtrain shards", "version": 7})"), HasSubstr("version 7"));
  EXPECT_THAT(text(head + R"("rows": 3})"), HasSubstr("lists no shards"));
  EXPECT_THAT(text(head + R"("rows": 3, "shards": [3]})"), HasSubstr("must be an object"));
  EXPECT_THAT(text(head + R"("rows": 3, "shards": [{"file": 3}]})"), HasSubstr("must be a text"));
  EXPECT_THAT(text(head + R"("rows": 3, "shards": [{"file": "a", "rows": -3, "bytes": 1}]})"),
              HasSubstr("\"rows\" of shard 0"));
  EXPECT_THAT(text(head + R"("rows": 4, "shards": [{"file": "a", "rows": 3, "bytes": 1}]})"),
              HasSubstr("says 4 rows, its shards have 3"));

  std::string many;
  for (int i = 0; i < 100001; ++i) many += i == 0 ? "1" : ",1";
  EXPECT_THAT(text(head + R"("rows": 1, "shards": [)" + many + "]}"), HasSubstr("at most 100000"));
  const std::string good = to_json(read);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x15);
    std::ofstream(path("out/text.json")) << bad;
    try {
      EXPECT_EQ(read_manifest(path("out/text.json")).rows(), 457);
    } catch (const DataError& error) {
      EXPECT_THAT(error.message(), HasSubstr("text.json"));
    }
  }

  std::fstream shard(path("out/shard-00002.h5"), std::ios::in | std::ios::out | std::ios::binary);
  shard.seekp(static_cast<std::streamoff>(fs::file_size(path("out/shard-00002.h5")) / 2));
  shard.put('\x55').put('\x66').put('\x77');
  shard.close();
  EXPECT_NO_THROW(shard_files(manifest, false)) << "sizes alone";
  EXPECT_THAT(refusal([&] { shard_files(manifest, true); }), HasSubstr("its contents are not those"));
}

}  // namespace
}  // namespace bunchtrain::data
