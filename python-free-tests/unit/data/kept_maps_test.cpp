// SPDX-License-Identifier: Apache-2.0
// Chunk maps that are kept beside the data: read back where they are right, and never believed where they are not.
#include "storage/kept_maps.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/hash.hpp"
#include "hdf5_samples.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;

constexpr hsize_t kRows = kLeastKeptChunks + 10;

/// As nobody, who may write where everybody may, while it lives; changes nothing for those who are not root.
class AsNobody {
 public:
  AsNobody() : was_(::geteuid()) { [[maybe_unused]] const int done = ::seteuid(was_ == 0 ? 65534 : was_); }
  ~AsNobody() { [[maybe_unused]] const int done = ::seteuid(was_); }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  uid_t was_;
};

/// A file with one row in each of very many chunks, two hours old, and a cache of the test's own.
class KeptMapsTest : public Hdf5FilesTest {
 protected:
  void SetUp() override {
    Hdf5FilesTest::SetUp();
    fs::create_directories(folder_ / "data");
    ::setenv("XDG_CACHE_HOME", path("cache").c_str(), 1);
    fs::copy_file(model(), data());
    age(data());
  }
  static void SetUpTestSuite() { write(model()); }
  static void TearDownTestSuite() { fs::remove(model()); }
  /// Written once: HDF5 takes a while.
  static std::string model() {
    return (fs::temp_directory_path() / ("kept-maps-" + std::to_string(getpid()) + ".h5")).string();
  }
  void TearDown() override {
    ::unsetenv("XDG_CACHE_HOME");
    fs::permissions(folder_ / "data", fs::perms::owner_all);
    Hdf5FilesTest::TearDown();
  }

  std::string data() const { return path("data/many.h5"); }
  fs::path beside() const { return places_of({.file = data(), .dataset = "x", .hash = {}}).front(); }
  fs::path cached() const { return places_of({.file = data(), .dataset = "x", .hash = {}}).at(1); }

  static void write(const std::string& name, std::int32_t from = 0, hsize_t rows = kRows) {
    std::vector<std::int32_t> values(rows);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = from + static_cast<std::int32_t>(i);
    const hid_t file = create_file(name);
    write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, {rows}, values.data(), {"", {1}, [](hid_t) {}});
    write_dataset(file, "y", H5T_STD_I32LE, H5T_NATIVE_INT32, {8}, values.data(), {"", {1}, [](hid_t) {}});
    H5Fclose(file);
    age(name);
  }
  static void age(const std::string& name, std::chrono::hours hours = std::chrono::hours(2)) {
    fs::last_write_time(name, fs::file_time_type::clock::now() - hours);
  }

  /// Opens "x", compares rows with HDF5, and tells what its fingerprint takes in.
  static std::string structure_of(const std::string& name) {
    const OpenedFile file(name);
    const StoredDataset dataset = file.open("x", false);
    EXPECT_EQ(dataset.path_text(), "pread of chunks");
    for (const std::size_t row : {std::size_t{0}, dataset.layout().rows() - 1})
      EXPECT_EQ(row_of(dataset, row, false), row_of(dataset, row, true)) << row;
    Hasher hasher;
    dataset.add_structure(hasher);
    return hasher.hex();
  }
  static std::int32_t row_of(const StoredDataset& dataset, std::size_t row, bool by_library) {
    std::int32_t value = 0;
    const auto sink = [&](std::size_t, std::size_t, const std::byte* bytes) {
      std::memcpy(&value, bytes, sizeof(value));
    };
    by_library ? dataset.read_by_library(row, 1, sink) : dataset.read(row, 1, sink);
    return value;
  }

  static MapKey key_of(const std::string& name, const std::string& dataset = "x") {
    const hdf5::LibraryLock lock;
    const auto file = hdf5::open_read_only(name);
    const hdf5::Dataset opened(H5Dopen2(file.get(), dataset.c_str(), H5P_DEFAULT));
    H5O_info_t info{};
    EXPECT_GE(H5Oget_info2(opened.get(), &info, H5O_INFO_BASIC), 0);
    return make_map_key(FileBytes(name), describe_dataset(opened.get(), dataset, name), info.addr);
  }
  std::optional<ChunkMap> kept() const {
    return find_kept_map(key_of(data()), {kRows}, fs::file_size(data()));
  }

  static std::string bytes_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void put(const fs::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  }
};

// How long it takes is told by benchmarks/micro/loading.
TEST_F(KeptMapsTest, AMillionChunksAreMappedAndKept) {
  constexpr hsize_t kMany = 1'000'000;
  const std::string name = path("data/million.h5");
  const hid_t file = create_file(name);
  write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, {kMany}, nullptr,
                {"", {1}, [](hid_t create) {
                   H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
                   H5Pset_fill_time(create, H5D_FILL_TIME_NEVER);
                 }});
  H5Fclose(file);
  age(name);
  const auto places = [&] {
    const StoredDataset dataset = OpenedFile(name).open("x", false);
    EXPECT_EQ(dataset.path_text(), "pread of chunks");
    ReadPlan plan;
    for (const std::size_t row : {0, 1, 500'000, 999'999}) dataset.plan(row, 1, plan);
    std::vector<std::uint64_t> offsets;
    for (const Piece& piece : plan.pieces) offsets.push_back(piece.offset);
    return offsets;
  };
  const auto walked = places();
  EXPECT_EQ(std::set(walked.begin(), walked.end()).size(), 4U);
  ASSERT_TRUE(fs::exists(places_of({.file = name, .dataset = "x", .hash = {}}).front()));
  EXPECT_EQ(places(), walked);
}

TEST_F(KeptMapsTest, AreMadeOnceAndBringTheSame) {
  const std::string walked = structure_of(data());
  ASSERT_TRUE(fs::exists(beside()));
  EXPECT_FALSE(fs::exists(cached())) << "one place is enough";
  const auto written = fs::last_write_time(beside());
  EXPECT_EQ(structure_of(data()), walked);
  EXPECT_EQ(fs::last_write_time(beside()), written);
  const auto map = kept();
  ASSERT_TRUE(map);
  EXPECT_EQ(map->chunks.size(), kRows);
  EXPECT_TRUE(map->has_all && map->walked && map->has_addresses);
  EXPECT_EQ(map->grid, std::vector<std::uint64_t>{kRows});
}

TEST_F(KeptMapsTest, AMapWithHolesKeepsThem) {
  ChunkMap map;
  map.grid = {2 * kLeastKeptChunks};
  map.walked = true;
  for (std::uint64_t i = 0; i < kLeastKeptChunks; ++i) {
    map.chunks.push_back({.offset = 100 + i, .bytes = 4, .skip_mask = static_cast<std::uint32_t>(i & 1)});
    map.places.push_back(2 * i);
  }
  map.has_all = false;
  const MapKey key = key_of(data());
  keep_map(key, map, FileBytes(data()).stamp());
  const auto back = find_kept_map(key, map.grid, fs::file_size(data()));
  ASSERT_TRUE(back);
  EXPECT_FALSE(back->has_all);
  EXPECT_EQ(back->places, map.places);
  EXPECT_EQ(back->at(2).offset, 101);
  EXPECT_EQ(back->at(2).skip_mask, 1);
  EXPECT_EQ(back->at(3).bytes, 0);
}

TEST_F(KeptMapsTest, AreNotBelievedWhenDamagedOrForeign) {
  const std::string walked = structure_of(data());
  const std::string good = bytes_of(beside());
  std::vector<std::string> bad = {"",         good.substr(0, 50),     good.substr(0, good.size() - 1),
                                  good + "x", "a note of the user's", std::string(good.size(), '\0')};
  for (const std::size_t at : {0UL, 8UL, 12UL, 20UL, 50UL, 60UL, 70UL, 110UL, good.size() - 1}) {
    bad.push_back(good);  // magic, version, byte order, key, counts, walked, hash, chunks
    bad.back()[at] = static_cast<char>(bad.back()[at] ^ 0x10);
  }
  for (std::size_t i = 0; i < bad.size(); ++i) {
    put(beside(), bad[i]);
    EXPECT_FALSE(kept()) << i;
    EXPECT_EQ(structure_of(data()), walked) << i;
    EXPECT_EQ(bytes_of(beside()), good) << "case " << i << " was not made anew";
  }
}

TEST_F(KeptMapsTest, AWellMadeMapOfWrongPlacesIsRefusedByComparingWithHdf5) {
  structure_of(data());
  ChunkMap map = *kept();
  for (StoredChunk& chunk : map.chunks) chunk.offset -= 4;
  keep_map(key_of(data()), map, FileBytes(data()).stamp());
  const OpenedFile file(data());
  const StoredDataset dataset = file.open("x", false);
  EXPECT_THAT(dataset.path_text(), testing::HasSubstr("our map of it disagrees with HDF5's"));
  EXPECT_EQ(row_of(dataset, 7, false), 7);
}

TEST_F(KeptMapsTest, ChunksBeyondTheFileAreRefused) {
  structure_of(data());
  ChunkMap map = *kept();
  map.chunks[kRows / 3].offset = fs::file_size(data());
  keep_map(key_of(data()), map, FileBytes(data()).stamp());
  EXPECT_FALSE(kept());
}

TEST_F(KeptMapsTest, BelongToOneFileAtOneTimeAndOneDataset) {
  structure_of(data());
  ASSERT_TRUE(kept());
  const std::string map = bytes_of(beside());
  EXPECT_NE(key_of(data()).hash, key_of(data(), "y").hash);

  age(data(), std::chrono::hours(3));
  EXPECT_FALSE(kept()) << "another time";
  age(data(), std::chrono::hours(2));

  write(path("data/other.h5"), 5, kRows + 1);
  structure_of(path("data/other.h5"));
  const fs::path of_other = places_of({.file = path("data/other.h5"), .dataset = "x", .hash = {}}).front();
  ASSERT_TRUE(fs::exists(of_other));
  fs::copy_file(of_other, beside(), fs::copy_options::overwrite_existing);
  EXPECT_FALSE(kept()) << "that of another file";
}

TEST_F(KeptMapsTest, AreInTheCacheWhereTheFolderIsReadOnly) {
  fs::permissions(folder_, fs::perms::all);
  fs::permissions(data(), fs::perms{0444});
  fs::permissions(folder_ / "data", fs::perms{0555});
  fs::create_directories(folder_ / "cache");
  fs::permissions(folder_ / "cache", fs::perms::all);
  const AsNobody nobody;
  const std::string walked = structure_of(data());
  EXPECT_FALSE(fs::exists(beside()));
  ASSERT_TRUE(fs::exists(cached()));
  EXPECT_TRUE(kept());
  EXPECT_EQ(structure_of(data()), walked);
}

TEST_F(KeptMapsTest, WithoutAnyPlaceFilesAreReadAllTheSame) {
  fs::create_directories(beside());  // something else has the name
  put(path("cache"), "no folder");
  const std::string walked = structure_of(data());
  EXPECT_EQ(structure_of(data()), walked);
  EXPECT_FALSE(kept());
}

TEST_F(KeptMapsTest, NeitherSmallMapsNorThoseOfFreshFilesAreKept) {
  write(data(), 0, 2000);
  structure_of(data());
  EXPECT_FALSE(fs::exists(beside()));
  fs::copy_file(model(), data(), fs::copy_options::overwrite_existing);
  structure_of(data());
  EXPECT_FALSE(fs::exists(beside())) << "a second write at once would leave the time as it is";
}

}  // namespace
}  // namespace bunchtrain::data
