// SPDX-License-Identifier: Apache-2.0
// Indexes of chunks of the newest format, read without HDF5: each chunk is where HDF5 wrote it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>

#include "bunchtrain/core/random.hpp"
#include "hdf5_library.hpp"
#include "hdf5_samples.hpp"
#include "storage/chunk_map.hpp"

namespace bunchtrain::data {
namespace {

using Shape = std::vector<hsize_t>;
using Properties = std::function<void(hid_t)>;

constexpr hsize_t kNoEnd = H5S_UNLIMITED;

void no_filter(hid_t) {}
void deflate(hid_t create) { H5Pset_deflate(create, 1); }

/// Where a dataset is written: from `first` on, `count` elements along each axis.
struct Part {
  Shape first, count;
};

struct Sample {
  std::string name;
  Shape shape, most, chunk;
  Properties properties = no_filter;
  std::vector<Part> parts = {};  ///< none: everything
  hsize_t userblock = 0;
};

/// Element i of a dataset in C order is i.
std::int32_t value_at(const Shape& shape, const std::vector<std::uint64_t>& place) {
  std::uint64_t index = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) index = index * shape[axis] + place[axis];
  return static_cast<std::int32_t>(index);
}

class ChunkIndexTest : public Hdf5FilesTest {
 protected:
  std::string write(const Sample& sample) const {
    const std::string name = path("index.h5");
    const hid_t file = create_file(name, {.userblock = sample.userblock, .latest_format = true});
    const int axes = static_cast<int>(sample.shape.size());
    const hid_t space = H5Screate_simple(axes, sample.shape.data(), sample.most.data());
    const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(create, axes, sample.chunk.data());
    sample.properties(create);
    const hid_t dataset = H5Dcreate2(file, "x", H5T_STD_I32LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    EXPECT_GE(dataset, 0);
    const Part all{Shape(sample.shape.size(), 0), sample.shape};
    for (const Part& part : sample.parts.empty() ? std::vector<Part>{all} : sample.parts)
      write_part(dataset, space, sample.shape, part);
    H5Dclose(dataset);
    H5Pclose(create);
    H5Sclose(space);
    H5Fclose(file);
    return name;
  }

  static void write_part(hid_t dataset, hid_t space, const Shape& shape, const Part& part) {
    std::uint64_t total = 1;
    for (const hsize_t extent : part.count) total *= extent;
    std::vector<std::int32_t> values(total);
    for (std::uint64_t i = 0; i < total; ++i) {
      std::vector<std::uint64_t> place(shape.size());
      std::uint64_t rest = i;
      for (std::size_t axis = shape.size(); axis-- > 0; rest /= part.count[axis])
        place[axis] = part.first[axis] + rest % part.count[axis];
      values[i] = value_at(shape, place);
    }
    H5Sselect_hyperslab(space, H5S_SELECT_SET, part.first.data(), nullptr, part.count.data(), nullptr);
    const hid_t memory = H5Screate_simple(static_cast<int>(shape.size()), part.count.data(), nullptr);
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_INT32, memory, space, H5P_DEFAULT, values.data()), 0);
    H5Sclose(memory);
  }

  static ChunkGrid grid_of(const Sample& sample) {
    ChunkGrid grid{.chunk = {sample.chunk.begin(), sample.chunk.end()}, .most = {}, .chunk_bytes = 4};
    for (std::size_t axis = 0; axis < sample.chunk.size(); ++axis) {
      grid.chunk_bytes *= sample.chunk[axis];
      const hsize_t most = sample.most[axis];
      grid.most.push_back(most == kNoEnd ? ChunkGrid::kUnlimited
                                         : (most + sample.chunk[axis] - 1) / sample.chunk[axis]);
    }
    return grid;
  }
  static std::uint64_t header_of(const std::string& name) {
    const auto opened = hdf5::open_read_only(name);
    const hdf5::Dataset dataset(H5Dopen2(opened.get(), "x", H5P_DEFAULT));
    H5O_info_t info{};
    EXPECT_GE(H5Oget_info2(dataset.get(), &info, H5O_INFO_BASIC), 0);
    return info.addr;
  }
  static std::optional<std::vector<ChunkEntry>> entries_of(const std::string& name, const Sample& sample,
                                                           std::uint64_t most = 1 << 20) {
    return read_chunks(FileBytes(name), {.base = sample.userblock}, header_of(name), grid_of(sample), most);
  }

  /// Chunks as HDF5 tells them, one after the other.
  static void expect_as_library(const std::string& name, const std::vector<ChunkEntry>& entries,
                                std::uint64_t base) {
    const auto file = hdf5::open_read_only(name);
    const hdf5::Dataset dataset(H5Dopen2(file.get(), "x", H5P_DEFAULT));
    const hdf5::Dataspace space(H5Dget_space(dataset.get()));
    hsize_t count = 0;
    ASSERT_GE(H5Dget_num_chunks(dataset.get(), space.get(), &count), 0);
    ASSERT_EQ(entries.size(), count);
    std::map<std::vector<std::uint64_t>, StoredChunk> by_place;
    for (const ChunkEntry& entry : entries) by_place[entry.first] = entry.chunk;
    for (hsize_t i = 0; i < count; ++i) {
      Shape first(H5Sget_simple_extent_ndims(space.get()));
      unsigned mask = 0;
      haddr_t address = 0;
      hsize_t bytes = 0;
      ASSERT_GE(H5Dget_chunk_info(dataset.get(), space.get(), i, first.data(), &mask, &address, &bytes), 0);
      const auto found = by_place.find({first.begin(), first.end()});
      ASSERT_NE(found, by_place.end()) << "chunk " << i;
      EXPECT_EQ(found->second.offset, base + address);
      EXPECT_EQ(found->second.bytes, bytes);
      EXPECT_EQ(found->second.skip_mask, mask);
    }
  }
  /// The first element of each raw chunk says which one it is.
  static void expect_values(const std::string& name, const std::vector<ChunkEntry>& entries,
                            const Sample& sample) {
    const FileBytes bytes(name);
    for (const ChunkEntry& entry : entries) {
      std::int32_t value = 0;
      bytes.read(entry.chunk.offset, std::as_writable_bytes(std::span(&value, 1)));
      ASSERT_EQ(value, value_at(sample.shape, entry.first));
    }
  }
};

TEST_F(ChunkIndexTest, IsThatOfHdf5) {
  const auto early = [](hid_t create) { H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY); };
  const std::vector<Sample> samples = {
      {"single", {20, 3}, {20, 3}, {20, 3}},
      {"single, filtered", {20, 3}, {20, 3}, {20, 3}, deflate},
      {"implicit", {50, 7}, {50, 7}, {4, 3}, early},
      {"fixed array", {50, 7}, {60, 9}, {4, 3}},
      {"fixed array, filtered", {50, 7}, {60, 9}, {4, 3}, deflate, {}, 4096},
      {"fixed array, empty", {50, 7}, {60, 9}, {4, 3}, no_filter, {{{0, 0}, {0, 0}}}},
      {"extensible array", {300, 5}, {kNoEnd, 5}, {2, 5}},
      {"extensible array, filtered", {300, 5}, {kNoEnd, 5}, {2, 5}, deflate, {}, 4096},
      {"tree", {60, 31}, {kNoEnd, kNoEnd}, {4, 3}},
      {"tree, filtered", {60, 31}, {kNoEnd, kNoEnd}, {4, 3}, deflate, {}, 4096}};
  for (const Sample& sample : samples) {
    SCOPED_TRACE(sample.name);
    const std::string name = write(sample);
    const auto entries = entries_of(name, sample);
    ASSERT_TRUE(entries);
    expect_as_library(name, *entries, sample.userblock);
  }
}

TEST_F(ChunkIndexTest, OfManyChunksIsReadInPagesBlocksAndLevels) {
  const Sample pages{"fixed array", {20000}, {20000}, {1}};
  const Sample few_pages{"fixed array", {20000}, {20000}, {1}, no_filter, {{{3000}, {5}}, {{19999}, {1}}}};
  const Sample blocks{"extensible array", {20000}, {kNoEnd}, {1}};
  const Sample paged_blocks{"extensible array", {400000},
                            {kNoEnd},           {1},
                            no_filter,          {{{0}, {9}}, {{135000}, {3000}}, {{399990}, {10}}}};
  const Sample levels{"tree", {200, 100}, {kNoEnd, kNoEnd}, {1, 1}};
  // HDF5 1.10 tells wrong places of chunks where another axis than the first one grows; what is in them is right.
  const Sample columns{"extensible array of columns", {3, 90}, {3, kNoEnd}, {1, 2}};
  const Sample middle{"extensible array in the middle", {3, 40, 4}, {4, kNoEnd, 4}, {1, 2, 3}};
  const std::vector<std::pair<Sample, std::size_t>> all = {
      {columns, 135},  {middle, 120},        {pages, 20000}, {few_pages, 6},
      {blocks, 20000}, {paged_blocks, 3019}, {levels, 20000}};
  for (const auto& [sample, count] : all) {
    SCOPED_TRACE(testing::Message() << sample.name << " of " << count);
    const std::string name = write(sample);
    const auto entries = entries_of(name, sample);
    ASSERT_TRUE(entries);
    EXPECT_EQ(entries->size(), count);
    expect_values(name, *entries, sample);
    EXPECT_FALSE(entries_of(name, sample, count - 1)) << "more entries than allowed";
  }
}

// Whatever a damaged index says, reading it ends and stays within the file.
TEST_F(ChunkIndexTest, ThatIsDamagedEnds) {
  for (const Sample& sample : {Sample{"fixed array", {2000}, {2000}, {1}, deflate},
                               Sample{"extensible array", {2000}, {kNoEnd}, {1}},
                               Sample{"tree", {50, 40}, {kNoEnd, kNoEnd}, {1, 1}}}) {
    SCOPED_TRACE(sample.name);
    const std::string name = write(sample);
    const std::uint64_t header = header_of(name);
    std::ifstream in(name, std::ios::binary);
    const std::string intact((std::istreambuf_iterator<char>(in)), {});
    const CounterRandom random(1, 2);
    for (std::uint64_t trial = 0; trial < 200; ++trial) {
      std::string bytes = intact;
      for (std::uint64_t i = 0; i < 40; ++i)
        bytes[random.below(bytes.size(), 80 * trial + 2 * i)] =
            static_cast<char>(random.bits(80 * trial + 2 * i + 1));
      std::ofstream(name, std::ios::binary) << bytes;
      const auto entries = read_chunks(FileBytes(name), {}, header, grid_of(sample), 2500);
      if (entries) {
        EXPECT_LE(entries->size(), 2500U);
      }
    }
  }
}

}  // namespace
}  // namespace bunchtrain::data
