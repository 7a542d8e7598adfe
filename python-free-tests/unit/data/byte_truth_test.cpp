// SPDX-License-Identifier: Apache-2.0
// Every engine brings what H5Dread brings: each layout with each type, filter and file format, with edges, holes and skipped
// filters; and it is said which way was taken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "hdf5_samples.hpp"
#include "io/cufile_engine.hpp"
#include "io/engine_choice.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

using testing::StartsWith;
using Bytes = std::vector<std::byte>;

constexpr hsize_t kRows = 41, kColumns = 6;  // two chunks of 16 rows, and an edge of 9
constexpr unsigned kLzf = 32000;

struct Hit {
  float energy;
  std::int16_t layer;
  double time;
};

/// A type in the file, the one that is written from, and the values.
struct Type {
  std::string name;
  hid_t stored, written;
  Bytes values;
};

/// LZF of runs without repetitions, and back.
std::size_t lzf_filter(unsigned flags, std::size_t, const unsigned*, std::size_t bytes, std::size_t* size,
                       void** buffer) {
  const auto* from = static_cast<const unsigned char*>(*buffer);
  std::vector<unsigned char> out;
  const auto take = [&](std::size_t& at, std::size_t count) {
    out.insert(out.end(), from + at, from + at + count);
    at += count;
  };
  for (std::size_t at = 0; at < bytes;) {
    if ((flags & H5Z_FLAG_REVERSE) != 0) {
      const std::size_t run = std::size_t{from[at++]} + 1;
      take(at, run);
      continue;
    }
    const std::size_t run = std::min<std::size_t>(bytes - at, 32);
    out.push_back(static_cast<unsigned char>(run - 1));
    take(at, run);
  }
  std::free(*buffer);
  *buffer = std::malloc(out.size());
  std::memcpy(*buffer, out.data(), out.size());
  *size = out.size();
  return out.size();
}

void none(hid_t) {}
void deflate(hid_t create) { H5Pset_deflate(create, 4); }
void shuffle_deflate(hid_t create) {
  H5Pset_shuffle(create);
  H5Pset_deflate(create, 4);
}
void checksum(hid_t create) { H5Pset_fletcher32(create); }
void lzf(hid_t create) { H5Pset_filter(create, kLzf, H5Z_FLAG_MANDATORY, 0, nullptr); }
void nbit(hid_t create) { H5Pset_nbit(create); }
void compact(hid_t create) { H5Pset_layout(create, H5D_COMPACT); }
void with_fill(hid_t create) {
  H5Pset_deflate(create, 4);
  H5Pset_alloc_time(create, H5D_ALLOC_TIME_INCR);
}

/// A dataset, and how an engine reads it; ENGINE stands for its name.
struct Kind {
  std::string name;
  StorageChoice storage;
  std::string way;
};

class ByteTruthTest : public Hdf5FilesTest {
 protected:
  void SetUp() override {
    Hdf5FilesTest::SetUp();
    const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, kLzf, 1, 1, "lzf", nullptr, nullptr, lzf_filter};
    ASSERT_GE(H5Zregister(&filter), 0);
    std::filesystem::create_directories(path("udev"));
    cufile_ = io::make_cufile_engine(
        {.library = BUNCHTRAIN_FAKE_CUFILE, .devices = path("udev"), .every_file_system = true});
    make_types();
  }
  void TearDown() override {
    H5Zunregister(kLzf);
    for (const hid_t type : made_) H5Tclose(type);
    Hdf5FilesTest::TearDown();
  }

  void make_types() {
    std::vector<std::int32_t> numbers(kRows * kColumns);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = static_cast<std::int32_t>(i * i % 1009) - 300;
    const auto bytes_of = [](const auto& values) {
      const auto bytes = std::as_bytes(std::span(values));
      return Bytes(bytes.begin(), bytes.end());
    };
    const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    const hid_t hit = H5Tcreate(H5T_COMPOUND, sizeof(Hit));
    H5Tinsert(hit, "energy", HOFFSET(Hit, energy), H5T_NATIVE_FLOAT);
    H5Tinsert(hit, "layer", HOFFSET(Hit, layer), H5T_NATIVE_INT16);
    H5Tinsert(hit, "time", HOFFSET(Hit, time), H5T_NATIVE_DOUBLE);
    made_ = {half, hit};
    std::vector<Hit> hits(numbers.size());
    std::memset(static_cast<void*>(hits.data()), 0, hits.size() * sizeof(Hit));
    for (std::size_t i = 0; i < hits.size(); ++i) {
      hits[i].energy = 0.5F * static_cast<float>(numbers[i]);
      hits[i].layer = static_cast<std::int16_t>(i);
      hits[i].time = 0.25 * numbers[i];
    }
    for (const auto& [name, stored] :
         {std::pair{"f2", half}, std::pair{"f4", H5T_IEEE_F32LE}, std::pair{"f8", H5T_IEEE_F64LE},
          std::pair{"i4", H5T_STD_I32LE}, std::pair{"big-endian", H5T_IEEE_F32BE}})
      types_.push_back({name, stored, H5T_NATIVE_INT32, bytes_of(numbers)});
    types_.push_back({"compound", hit, hit, bytes_of(hits)});
  }

  std::vector<Kind> kinds(const std::string& raw) const {
    const std::vector<hsize_t> chunk = {16, kColumns};
    const auto external = [raw](hid_t create) { H5Pset_external(create, raw.c_str(), 0, H5F_UNLIMITED); };
    return {{"contiguous", {"", {}, none}, "ENGINE"},
            {"compact", {"", {}, compact}, "H5Dread (compact)"},
            {"external", {"", {}, external}, "H5Dread (values in external files)"},
            {"chunked", {"", chunk, none}, "ENGINE of chunks"},
            {"divided", {"", {16, 4}, none}, "ENGINE + own"},
            {"deflate", {"", chunk, deflate}, "ENGINE + own inflate"},
            {"shuffle-deflate", {"", chunk, shuffle_deflate}, "ENGINE + own inflate"},
            {"fletcher32", {"", chunk, checksum}, "ENGINE + own"},
            {"lzf", {"", chunk, lzf}, "ENGINE + own"},
            {"unknown", {"", chunk, nbit}, "H5Dread (filter "}};
  }

  /// Only the rows of the second chunk, and the first chunk as it is, its filter skipped.
  void write_hole(hid_t file, const std::string& name, const Type& type, std::size_t stored_bytes) const {
    write_dataset(file, name, type.stored, type.written, {kRows, kColumns}, nullptr,
                  {"", {16, kColumns}, with_fill});
    const hid_t dataset = H5Dopen2(file, name.c_str(), H5P_DEFAULT);
    const hid_t space = H5Dget_space(dataset);
    const hsize_t start[] = {16, 0}, count[] = {16, kColumns};
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr);
    const hid_t memory = H5Screate_simple(2, count, nullptr);
    EXPECT_GE(H5Dwrite(dataset, type.written, memory, space, H5P_DEFAULT, type.values.data()), 0);
    const Bytes plain(16 * kColumns * stored_bytes, std::byte{0x3c});
    const hsize_t first[] = {0, 0};
    EXPECT_GE(H5Dwrite_chunk(dataset, H5P_DEFAULT, 1, first, plain.size(), plain.data()), 0);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(dataset);
  }

  /// Rows 5 to 24 of one dataset of the file behind the last ones of another.
  static void write_virtual(hid_t file, const std::string& name, const Type& type) {
    const hsize_t shape[] = {kRows, kColumns};
    write_dataset(
        file, name + "virtual", type.stored, type.written, {kRows, kColumns}, nullptr,
        {"", {}, [&](hid_t create) {
           const auto map = [&](hsize_t to, hsize_t from, hsize_t rows, const std::string& source) {
             const hid_t target = H5Screate_simple(2, shape, nullptr),
                         of = H5Screate_simple(2, shape, nullptr);
             const hsize_t begin[] = {to, 0}, source_begin[] = {from, 0}, extent[] = {rows, kColumns};
             H5Sselect_hyperslab(target, H5S_SELECT_SET, begin, nullptr, extent, nullptr);
             H5Sselect_hyperslab(of, H5S_SELECT_SET, source_begin, nullptr, extent, nullptr);
             H5Pset_virtual(create, target, ".", (name + source).c_str(), of);
             H5Sclose(target);
             H5Sclose(of);
           };
           map(0, 20, 21, "chunked");
           map(21, 5, 20, "deflate");
         }});
  }

  std::vector<Kind> write(const std::string& file, const FileChoice& format) const {
    std::vector<Kind> all;
    const hid_t out = create_file(file, format);
    for (const Type& type : types_) {
      const auto add = [&](Kind kind) {
        kind.name = type.name + " " + kind.name;
        all.push_back(std::move(kind));
      };
      for (const Kind& kind : kinds(file + "." + type.name)) {
        write_dataset(out, type.name + " " + kind.name, type.stored, type.written, {kRows, kColumns},
                      type.values.data(), kind.storage);
        add(kind);
      }
      write_hole(out, type.name + " hole", type, H5Tget_size(type.stored));
      add({"hole", {}, "ENGINE + own inflate"});
      if (!format.latest_format) continue;  // there are no others of the older format
      write_virtual(out, type.name + " ", type);
      add({"virtual", {}, "virtual"});
    }
    H5Fclose(out);
    return all;
  }

  static Bytes rows_of(const StoredDataset& dataset, bool by_library) {
    const std::size_t row_bytes = dataset.layout().row_bytes();
    Bytes bytes(kRows * row_bytes);
    const auto sink = [&](std::size_t first, std::size_t rows, const std::byte* from) {
      std::memcpy(bytes.data() + first * row_bytes, from, rows * row_bytes);
    };
    by_library ? dataset.read_by_library(0, kRows, sink) : dataset.read(0, kRows, sink);
    return bytes;
  }

  std::vector<const io::Engine*> engines() const {
    std::vector<const io::Engine*> all = {cufile_.get()};
    for (const io::Engine* engine : io::all_engines())
      if (engine->kind() != IoEngine::cufile && engine->unavailable().empty()) all.push_back(engine);
    return all;
  }

  std::unique_ptr<const io::Engine> cufile_;
  std::vector<hid_t> made_;
  std::vector<Type> types_;
};

TEST_F(ByteTruthTest, EveryCombinationIsThatOfH5DreadByEveryEngine) {
  std::size_t compared = 0;
  for (const hsize_t userblock : {0, 4096})
    for (const bool latest : {false, true}) {
      const std::string file = path(std::to_string(userblock) + (latest ? "latest.h5" : ".h5"));
      const std::vector<Kind> kinds = write(file, {.userblock = userblock, .latest_format = latest});
      for (const io::Engine* engine : engines()) {
        const OpenedFile opened(file, engine);
        for (const Kind& kind : kinds) {
          SCOPED_TRACE(kind.name + " of " + file + " by " + std::string(engine->name()));
          const StoredDataset dataset = opened.open(kind.name, true);
          std::string way = kind.way;
          if (const auto place = way.find("ENGINE"); place != std::string::npos)
            way.replace(place, 6, engine->name());
          if (engine->kind() == IoEngine::hdf5 && kind.way.starts_with("ENGINE")) way = "H5Dread (asked for)";
          EXPECT_THAT(dataset.path_text(), StartsWith(way));
          ASSERT_TRUE(rows_of(dataset, false) == rows_of(dataset, true));
          ++compared;
        }
      }
    }
  EXPECT_GE(compared, 4U * 6U * 11U * 3U);
}

}  // namespace
}  // namespace bunchtrain::data
