// SPDX-License-Identifier: Apache-2.0
// Byte truth: every way of reading equals H5Dread, over layouts, types, filters and file formats; and the
// report says which way was taken.
#include "storage/stored_dataset.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "hdf5_samples.hpp"
#include "storage/chunk_map.hpp"

namespace bunchtrain::data {
namespace {

using testing::HasSubstr;

class StoredDatasetTest : public Hdf5FilesTest {
 protected:
  StoredDataset open(const std::string& file, const std::string& name = "x") const {
    return StoredDataset(std::make_shared<const hdf5::File>(hdf5::open_read_only(file)),
                         std::make_shared<const FileBytes>(file), name);
  }
};

using Bytes = std::vector<std::byte>;

Bytes read(const StoredDataset& dataset, std::size_t first, std::size_t count, bool by_library) {
  const std::size_t row_bytes = dataset.layout().row_bytes();
  Bytes bytes(count * row_bytes, std::byte{0xEE});
  const auto sink = [&](std::size_t at, std::size_t rows, const std::byte* source) {
    std::memcpy(bytes.data() + at * row_bytes, source, rows * row_bytes);
  };
  if (by_library) {
    dataset.read_by_library(first, count, sink);
  } else {
    dataset.read(first, count, sink);
  }
  return bytes;
}

void expect_same_rows(const StoredDataset& dataset) {
  const std::size_t rows = dataset.layout().rows();
  for (const auto& [first, count] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, rows}, {0, 1}, {rows - 1, 1}, {rows / 3, rows / 2}, {rows / 2, 3}})
    ASSERT_TRUE(read(dataset, first, count, false) == read(dataset, first, count, true))
        << count << " rows from " << first;
}

void deflate(hid_t create) { H5Pset_deflate(create, 4); }
void shuffle_deflate(hid_t create) {
  H5Pset_shuffle(create);
  H5Pset_deflate(create, 4);
}
void checksum(hid_t create) { H5Pset_fletcher32(create); }
void everything(hid_t create) {
  H5Pset_shuffle(create);
  H5Pset_deflate(create, 4);
  H5Pset_fletcher32(create);
}
void compact(hid_t create) { H5Pset_layout(create, H5D_COMPACT); }
void scale_offset(hid_t create) { H5Pset_scaleoffset(create, H5Z_SO_INT, 0); }
void raw_edges(hid_t create) {
  H5Pset_deflate(create, 4);
  H5Pset_chunk_opts(create, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS);
}

const std::vector<hsize_t> kShape = {103, 6, 5};
constexpr std::size_t kValues = 103 * 6 * 5;

std::vector<std::int32_t> numbers() {
  std::vector<std::int32_t> values(kValues);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(i * i % 1009) - 300;
  return values;
}

struct Choice {
  StorageChoice storage;
  std::string way;
};

std::vector<Choice> choices() {
  const std::string inflated = "pread + own inflate";
  return {{{"contiguous", {}, [](hid_t) {}}, "pread"},
          {{"whole rows", {16, 6, 5}, [](hid_t) {}}, "pread of chunks"},
          {{"divided rows", {16, 4, 5}, [](hid_t) {}}, inflated},
          {{"divided twice, deflate", {10, 4, 2}, deflate}, inflated},
          {{"deflate", {16, 6, 5}, deflate}, inflated},
          {{"shuffle + deflate", {16, 6, 5}, shuffle_deflate}, inflated},
          {{"one-row chunks", {1, 6, 5}, shuffle_deflate}, inflated},
          {{"fletcher32", {16, 6, 5}, checksum}, inflated},
          {{"shuffle + deflate + fletcher32", {16, 6, 5}, everything}, inflated}};
}

TEST_F(StoredDatasetTest, EqualsH5DreadForAllLayoutsAndFormats) {
  const auto values = numbers();
  int file_number = 0;
  for (const FileChoice& format : {FileChoice{}, FileChoice{.userblock = 4096},
                                   FileChoice{.track_order = true}, FileChoice{.latest_format = true}}) {
    const std::string name = path(std::to_string(file_number++) + ".h5");
    const hid_t file = create_file(name, format);
    for (const auto& choice : choices()) {
      write_dataset(file, choice.storage.name, H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, values.data(),
                    choice.storage, format.track_order);
    }
    H5Fclose(file);
    for (const auto& choice : choices()) {
      SCOPED_TRACE(testing::Message() << choice.storage.name << ", file " << file_number - 1);
      const auto dataset = open(name, choice.storage.name);
      EXPECT_EQ(dataset.path_text(), choice.way);
      expect_same_rows(dataset);
    }
  }
}

TEST_F(StoredDatasetTest, EqualsH5DreadForAllTypes) {
  const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  const auto values = numbers();
  const std::string name = path("types.h5");
  const std::vector<std::pair<hid_t, std::string>> types = {{half, "float16"},
                                                            {H5T_IEEE_F32LE, "float32"},
                                                            {H5T_IEEE_F64LE, "float64"},
                                                            {H5T_IEEE_F32BE, "big-endian float32"},
                                                            {H5T_IEEE_F64BE, "big-endian float64"},
                                                            {H5T_STD_I8LE, "int8"},
                                                            {H5T_STD_U8LE, "uint8"},
                                                            {H5T_STD_I16BE, "big-endian int16"},
                                                            {H5T_STD_U16LE, "uint16"},
                                                            {H5T_STD_U32BE, "big-endian uint32"},
                                                            {H5T_STD_I64LE, "int64"},
                                                            {H5T_STD_U64BE, "big-endian uint64"}};
  const hid_t file = create_file(name);
  for (const auto& [type, text] : types)
    write_dataset(file, text, type, H5T_NATIVE_INT32, kShape, values.data(),
                  {text, {16, 6, 5}, shuffle_deflate});
  H5Fclose(file);
  for (const auto& [type, text] : types) {
    SCOPED_TRACE(text);
    const auto dataset = open(name, text);
    ASSERT_TRUE(dataset.layout().type);
    EXPECT_EQ(to_string(*dataset.layout().type), text);
    expect_same_rows(dataset);

    // Widened by us against converted by HDF5.
    const hid_t reader = H5Fopen(name.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t data = H5Dopen2(reader, text.c_str(), H5P_DEFAULT);
    std::vector<double> expected(kValues), ours(kValues);
    std::vector<float> narrow(kValues);
    H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, expected.data());
    H5Dclose(data);
    H5Fclose(reader);
    const auto bytes = read(dataset, 0, 103, false);
    const auto element = dataset.layout().element_bytes;
    const ColumnLayout all{.type = *dataset.layout().type,
                           .row_bytes = 30 * element,
                           .offset = 0,
                           .slot_bytes = element,
                           .slots = 30};
    widen(all, bytes.data(), 103, ours.data());
    widen(all, bytes.data(), 103, narrow.data());
    EXPECT_EQ(ours, expected);
    for (std::size_t i = 0; i < kValues; ++i) ASSERT_EQ(narrow[i], static_cast<float>(expected[i]));
  }
  H5Tclose(half);
}

TEST_F(StoredDatasetTest, GoesThroughHdf5WhereItMust) {
  const auto values = numbers();
  const std::string name = path("fallback.h5");
  const std::vector<hsize_t> small = {20, 3};
  const hid_t file = create_file(name);
  write_dataset(file, "compact", H5T_STD_I32LE, H5T_NATIVE_INT32, small, values.data(), {"", {}, compact});
  write_dataset(file, "scaled", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, values.data(),
                {"", {16, 6, 5}, scale_offset});
  write_dataset(
      file, "external", H5T_STD_I32LE, H5T_NATIVE_INT32, small, values.data(),
      {"", {}, [&](hid_t create) { H5Pset_external(create, path("raw.bin").c_str(), 0, H5F_UNLIMITED); }});
  H5Fclose(file);
  EXPECT_EQ(open(name, "compact").path_text(), "H5Dread (compact)");
  EXPECT_EQ(open(name, "scaled").path_text(), "H5Dread (filter scale-offset (6))");
  EXPECT_EQ(open(name, "external").path_text(), "H5Dread (values in external files)");
  for (const char* dataset : {"compact", "scaled", "external"}) expect_same_rows(open(name, dataset));
}

TEST_F(StoredDatasetTest, FillsWhatWasNeverWritten) {
  const std::string name = path("holes.h5");
  const auto values = numbers();
  const std::int32_t fill = -77;
  const auto with_fill = [&](hid_t create) { H5Pset_fill_value(create, H5T_NATIVE_INT32, &fill); };
  const hid_t file = create_file(name);
  write_dataset(file, "nothing", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, nullptr, {"", {}, with_fill});
  write_dataset(file, "no chunk", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, nullptr,
                {"", {16, 6, 5}, with_fill});
  write_dataset(file, "some chunks", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, nullptr,
                {"", {16, 6, 5}, [&](hid_t create) {
                   with_fill(create);
                   shuffle_deflate(create);
                 }});
  const hid_t dataset = H5Dopen2(file, "some chunks", H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  const hsize_t start[] = {40, 0, 0}, count[] = {10, 6, 5};
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr);
  const hid_t memory = H5Screate_simple(3, count, nullptr);
  H5Dwrite(dataset, H5T_NATIVE_INT32, memory, space, H5P_DEFAULT, values.data());
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(file);
  for (const char* which : {"nothing", "no chunk", "some chunks"}) {
    SCOPED_TRACE(which);
    const auto opened = open(name, which);
    EXPECT_THAT(opened.path_text(), testing::StartsWith("pread"));
    expect_same_rows(opened);
    std::int32_t first = 0;
    std::memcpy(&first, read(opened, 0, 1, false).data(), 4);
    EXPECT_EQ(first, fill);
  }
}

TEST_F(StoredDatasetTest, ObeysTheFilterMask) {
  const std::string name = path("mask.h5");
  const std::vector<hsize_t> shape = {64}, chunk = {32};
  std::vector<float> values(64);
  std::iota(values.begin(), values.end(), 1.0F);
  const hid_t file = create_file(name);
  write_floats(file, "x", shape, values, {"", chunk, deflate});
  const hid_t dataset = H5Dopen2(file, "x", H5P_DEFAULT);
  const hsize_t offset = 32;
  EXPECT_GE(H5Dwrite_chunk(dataset, H5P_DEFAULT, 1, &offset, 32 * sizeof(float), values.data() + 32), 0);
  H5Dclose(dataset);
  H5Fclose(file);
  const auto opened = open(name);
  EXPECT_EQ(opened.path_text(), "pread + own inflate");
  expect_same_rows(opened);
}

TEST_F(StoredDatasetTest, LeavesUnfilteredEdgeChunksToHdf5) {
  const std::string name = path("edges.h5");
  const auto values = numbers();
  const hid_t file = create_file(name, {.latest_format = true});
  write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, values.data(),
                {"", {16, 6, 5}, raw_edges});
  H5Fclose(file);
  const auto dataset = open(name);
  EXPECT_EQ(dataset.path_text(), "H5Dread (chunks at the edge are stored without the filters)");
  expect_same_rows(dataset);
}

struct Track {
  float pt;
  std::int16_t charge;
  double d0;
};

hid_t track_type() {
  const hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(Track));
  H5Tinsert(type, "pt", HOFFSET(Track, pt), H5T_NATIVE_FLOAT);
  H5Tinsert(type, "charge", HOFFSET(Track, charge), H5T_NATIVE_INT16);
  H5Tinsert(type, "d0", HOFFSET(Track, d0), H5T_NATIVE_DOUBLE);
  return type;
}

TEST_F(StoredDatasetTest, ReadsCompoundsOfManyBytes) {
  const std::string name = path("compound.h5");
  std::vector<Track> tracks(50 * 7);
  for (std::size_t i = 0; i < tracks.size(); ++i)
    tracks[i] = {static_cast<float>(i), static_cast<std::int16_t>(i % 3), 0.5 * static_cast<double>(i)};
  const hid_t type = track_type();
  const hid_t file = create_file(name);
  write_dataset(file, "x", type, type, {50, 7}, tracks.data(), {"", {20, 7}, shuffle_deflate});
  H5Fclose(file);
  H5Tclose(type);
  const auto dataset = open(name);
  EXPECT_EQ(dataset.path_text(), "pread + own inflate");
  ASSERT_EQ(dataset.layout().members.size(), 3U);
  expect_same_rows(dataset);
}

TEST_F(StoredDatasetTest, MapsManyChunksQuickly) {
  const std::string name = path("many.h5");
  const std::vector<hsize_t> shape = {60000, 2}, chunk = {1, 2};
  std::vector<float> values(120000);
  std::iota(values.begin(), values.end(), 0.0F);
  const hid_t file = create_file(name);
  write_floats(file, "x", shape, values, {"", chunk, [](hid_t) {}});
  H5Fclose(file);
  const std::clock_t begin = std::clock();  // processor time: other jobs do not count
  const auto dataset = open(name);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_EQ(dataset.path_text(), "pread of chunks");
  EXPECT_LT(seconds, 2.0) << "HDF5 1.10 itself needs minutes for 60,000 chunks";
  const auto bytes = read(dataset, 59999, 1, false);
  float last = 0;
  std::memcpy(&last, bytes.data() + 4, 4);
  EXPECT_EQ(last, 119999);
}

// Whatever a damaged index says, walking it ends and stays within the file.
TEST_F(StoredDatasetTest, WalkingADamagedIndexEnds) {
  const std::string name = path("index.h5");
  const auto values = numbers();
  const hid_t file = create_file(name);
  write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, values.data(),
                {"", {2, 6, 5}, shuffle_deflate});
  H5Fclose(file);
  haddr_t header = 0;
  {
    const auto opened = hdf5::open_read_only(name);
    const hdf5::Dataset dataset(H5Dopen2(opened.get(), "x", H5P_DEFAULT));
    H5O_info_t info{};
    ASSERT_GE(H5Oget_info2(dataset.get(), &info, H5O_INFO_BASIC), 0);
    header = info.addr;
  }
  const ChunkGrid grid{.chunk = {2, 6, 5}, .most = {52, 1, 1}, .chunk_bytes = 240};
  const auto whole = read_chunks(FileBytes(name), {}, header, grid, 100);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->size(), 52U);
  EXPECT_FALSE(read_chunks(FileBytes(name), {}, header, grid, 51)) << "more entries than allowed";
  EXPECT_FALSE(
      read_chunks(FileBytes(name), {}, header, {.chunk = {2, 6}, .most = {52, 1}, .chunk_bytes = 240}, 100))
      << "another rank";
  EXPECT_FALSE(read_chunks(FileBytes(name), {}, header + 8, grid, 100));

  std::ifstream in(name, std::ios::binary);
  const std::string intact((std::istreambuf_iterator<char>(in)), {});
  const CounterRandom random(1, 2);
  for (std::uint64_t trial = 0; trial < 300; ++trial) {
    std::string bytes = intact;
    for (std::uint64_t i = 0; i < 20; ++i)
      bytes[random.below(bytes.size(), 40 * trial + 2 * i)] =
          static_cast<char>(random.bits(40 * trial + 2 * i + 1));
    std::ofstream(name, std::ios::binary) << bytes;
    const auto entries = read_chunks(FileBytes(name), {}, header, grid, 100);
    if (entries) {
      EXPECT_LE(entries->size(), 100U);
    }
  }
}

// Flips a byte in the middle of a stored chunk.
void damage(const std::string& file, const StoredDataset& dataset, std::size_t row) {
  const auto hdf5_file = hdf5::open_read_only(file);
  const hid_t opened = H5Dopen2(hdf5_file.get(), dataset.layout().name.c_str(), H5P_DEFAULT);
  std::vector<hsize_t> at(dataset.layout().shape.size(), 0);
  at[0] = row;
  unsigned mask = 0;
  haddr_t address = 0;
  hsize_t bytes = 0;
  ASSERT_GE(H5Dget_chunk_info_by_coord(opened, at.data(), &mask, &address, &bytes), 0);
  H5Dclose(opened);
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  const auto place = static_cast<std::streamoff>(address + bytes / 2);
  stream.seekg(place);
  const char flipped = static_cast<char>(stream.get() ^ 0x5A);
  stream.seekp(place);
  stream.put(flipped);
}

TEST_F(StoredDatasetTest, NamesTheRowsOfADamagedChunk) {
  for (const auto& [text, properties] : std::vector<std::pair<std::string, void (*)(hid_t)>>{
           {"deflate", shuffle_deflate}, {"checksum (fletcher32)", checksum}}) {
    const std::string name = path("damaged.h5");
    const auto values = numbers();
    const hid_t file = create_file(name);
    write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, values.data(),
                  {"", {16, 6, 5}, properties});
    H5Fclose(file);
    const auto dataset = open(name);
    damage(name, dataset, 16);
    EXPECT_NO_THROW(read(dataset, 0, 16, false));
    try {
      read(dataset, 20, 2, false);
      FAIL() << "no exception";
    } catch (const DataError& error) {
      EXPECT_THAT(error.message(), HasSubstr("damaged.h5, dataset 'x', rows 16 to 31"));
      EXPECT_THAT(error.message(), HasSubstr(text));
    }
  }
}

TEST_F(StoredDatasetTest, NamesFiltersThatAreMissing) {
  const std::string name = path("bitshuffle.h5");
  const auto values = numbers();
  // A file as h5py writes it with compression="bitshuffle": the filter is registered for writing, then taken away.
  const auto pass = [](unsigned, std::size_t, const unsigned*, std::size_t bytes, std::size_t*, void**) {
    return bytes;
  };
  const H5Z_class2_t bitshuffle = {H5Z_CLASS_T_VERS, 32008, 1, 1, "bitshuffle", nullptr, nullptr, pass};
  ASSERT_GE(H5Zregister(&bitshuffle), 0);
  const hid_t file = create_file(name);
  write_dataset(
      file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, values.data(),
      {"", {16, 6, 5}, [](hid_t create) { H5Pset_filter(create, 32008, H5Z_FLAG_MANDATORY, 0, nullptr); }});
  H5Fclose(file);
  EXPECT_EQ(open(name).path_text(), "H5Dread (filter bitshuffle (32008))")
      << "HDF5 can read it as long as the filter is there";
  ASSERT_GE(H5Zunregister(32008), 0);
  try {
    open(name);
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_THAT(error.message(), HasSubstr("bitshuffle.h5, dataset 'x': compressed with bitshuffle (32008)"));
    EXPECT_THAT(error.message(), HasSubstr("h5repack"));
    EXPECT_THAT(error.message(), HasSubstr("allow_plugins"));
  }
}

TEST(ChunkFiltersTest, AMissingCodecIsNamedByItsPackage) {
  for (const auto& [id, package] :
       {std::pair{32015, "libzstd-dev"}, std::pair{32004, "liblz4-dev"}, std::pair{32001, "libblosc-dev"}})
    EXPECT_THAT(way_out_of({.id = id, .values = {}, .name = {}}),
                testing::AllOf(HasSubstr(package), HasSubstr("hdf5plugin"), HasSubstr("h5repack")));
}

TEST(ChunkFiltersTest, UnshuffleUndoesTheByteTransposition) {
  for (const std::size_t element : {1, 2, 3, 4, 7, 8, 16, 17, 40, 3232})
    for (const std::size_t elements : {1, 2, 15, 16, 17, 40, 64}) {
      const std::size_t tail = element > 2 ? 2 : 0;
      Bytes original(element * elements + tail);
      for (std::size_t i = 0; i < original.size(); ++i) original[i] = static_cast<std::byte>(i * 131 >> 3);
      Bytes shuffled(original.size()), restored(original.size());
      for (std::size_t i = 0; i < elements; ++i)
        for (std::size_t j = 0; j < element; ++j) shuffled[j * elements + i] = original[i * element + j];
      std::copy(original.end() - static_cast<std::ptrdiff_t>(tail), original.end(),
                shuffled.end() - static_cast<std::ptrdiff_t>(tail));
      unshuffle(shuffled, element, restored.data());
      ASSERT_TRUE(restored == original) << elements << " elements of " << element << " bytes";
    }
}

}  // namespace
}  // namespace bunchtrain::data
