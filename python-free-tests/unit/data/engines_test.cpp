// SPDX-License-Identifier: Apache-2.0
// Every engine brings the same bytes, over layouts and threads; what the system refuses is said or gone round.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "hdf5_samples.hpp"
#include "io/engine_choice.hpp"
#include "io/uring_engine.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using Bytes = std::vector<std::byte>;

const std::vector<hsize_t> kShape = {301, 33};

/// "x" in one layout.
struct Layout {
  std::string name;
  StorageChoice storage;
};

std::vector<Layout> layouts() {
  const auto deflate = [](hid_t create) {
    H5Pset_shuffle(create);
    H5Pset_deflate(create, 1);
  };
  const auto none = [](hid_t) {};
  return {{"contiguous", {"", {}, none}},
          {"raw chunks", {"", {16, 33}, none}},
          {"deflate", {"", {16, 33}, deflate}},
          {"divided rows", {"", {50, 10}, deflate}}};
}

class EnginesTest : public Hdf5FilesTest {
 protected:
  void TearDown() override {
    io::uring_faults().set_up = 0;
    io::uring_faults().direct = false;
    Hdf5FilesTest::TearDown();
  }

  std::string write(const Layout& layout) const {
    const std::string name = path(layout.name + ".h5");
    std::vector<float> values(kShape[0] * kShape[1]);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(CounterRandom(3, i).uniform(0));
    const hid_t file = create_file(name);
    write_floats(file, "x", kShape, values, layout.storage);
    H5Fclose(file);
    return name;
  }

  /// 20 MB of bytes that all differ.
  std::string write_large() const {
    const std::string name = path("large.bin");
    std::vector<std::uint64_t> words((20 << 20) / 8 + 1);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = mix64(7, i);
    std::ofstream(name, std::ios::binary)
        .write(reinterpret_cast<const char*>(words.data()),
               static_cast<std::streamsize>(words.size() * 8 - 5));
    return name;
  }
};

Bytes all_rows(const StoredDataset& dataset, bool by_library = false) {
  const std::size_t row_bytes = dataset.layout().row_bytes();
  Bytes bytes(dataset.layout().rows() * row_bytes);
  const auto sink = [&](std::size_t first, std::size_t rows, const std::byte* source) {
    std::memcpy(bytes.data() + first * row_bytes, source, rows * row_bytes);
  };
  if (by_library) {
    dataset.read_by_library(0, dataset.layout().rows(), sink);
  } else {
    dataset.read(0, dataset.layout().rows(), sink);
  }
  return bytes;
}

std::string structure_of(const StoredDataset& dataset) {
  Hasher hasher;
  dataset.add_structure(hasher);
  return hasher.hex();
}

std::vector<const io::Engine*> available() {
  std::vector<const io::Engine*> engines;
  for (const io::Engine* engine : io::all_engines())
    if (engine->unavailable().empty()) engines.push_back(engine);
  return engines;
}

TEST_F(EnginesTest, GiveTheSameRowsFromOneThreadAndTwo) {
  for (const Layout& layout : layouts()) {
    const std::string file = write(layout);
    const OpenedFile reference(file);
    const StoredDataset expected = reference.open("x", false);
    const std::string structure = structure_of(expected);
    for (const io::Engine* engine : available()) {
      SCOPED_TRACE(testing::Message() << layout.name << " by " << engine->name());
      const OpenedFile opened(file, engine);
      const StoredDataset dataset = opened.open("x", false);
      EXPECT_THAT(dataset.path_text(),
                  StartsWith(engine->kind() == IoEngine::hdf5 ? "H5Dread (asked for)" : engine->name()));
      EXPECT_EQ(dataset.rows_per_chunk(), expected.rows_per_chunk()) << "or the order would change";
      EXPECT_EQ(structure_of(dataset), structure) << "or a run could not go on";
      const Bytes rows = all_rows(expected, true);
      std::array<Bytes, 2> read;
      {
        std::vector<std::jthread> threads;
        for (Bytes& bytes : read) threads.emplace_back([&] { bytes = all_rows(dataset); });
      }
      for (const Bytes& bytes : read) EXPECT_TRUE(bytes == rows);
      EXPECT_TRUE(all_rows(dataset) == rows);
    }
  }
}

TEST_F(EnginesTest, ManyPiecesOfManySizesArriveInOrder) {
  const std::string name = write_large();
  std::ifstream stream(name, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(stream)), {});
  for (const io::Engine* engine : available()) {
    if (engine->kind() == IoEngine::hdf5) continue;
    for (const bool refused : {false, true}) {
      io::uring_faults().direct = refused;
      const FileBytes file(name, engine);
      ReadPlan plan;
      for (std::uint64_t i = 0; i < 400; ++i) {
        const std::uint64_t bytes = i % 50 == 0 ? 700'000 : mix64(1, i) % 9000;
        plan.add(file, mix64(2, i) % (file.size() - bytes + 1), bytes);
      }
      plan.add(file, file.size() - 3, 3);
      plan.add(file, 0, io::kMostBytesAtOnce);
      plan.add(file, io::kMostBytesAtOnce, io::kMostBytesAtOnce);
      Bytes bytes(plan.bytes());
      io::fetch(plan, bytes);
      const std::byte* at = bytes.data();
      for (const Piece& piece : plan.pieces) {
        ASSERT_EQ(std::memcmp(at, content.data() + piece.offset, piece.bytes), 0)
            << engine->name() << ", " << piece.bytes << " bytes from " << piece.offset;
        at += piece.bytes;
      }
      if (engine->kind() == IoEngine::io_uring && refused) {
        EXPECT_TRUE(file.direct_refused());
        EXPECT_EQ(file.way(), "io_uring through the page cache");
      }
    }
  }
}

TEST_F(EnginesTest, AFileThatEndsEarlyIsNamedByEachEngine) {
  for (const io::Engine* engine : available()) {
    if (engine->kind() == IoEngine::hdf5) continue;
    const std::string name = write_large();
    const FileBytes file(name, engine);
    std::filesystem::resize_file(name, 5 << 20);
    ReadPlan plan;
    plan.add(file, 0, 8 << 20);
    Bytes bytes(plan.bytes());
    try {
      io::fetch(plan, bytes);
      FAIL() << engine->name();
    } catch (const DataError& error) {
      EXPECT_THAT(error.message(), AllOf(HasSubstr("large.bin"), HasSubstr("truncated"))) << engine->name();
    }
  }
}

TEST_F(EnginesTest, ABlockedSetUpIsSaidOrGoneRound) {
  if (!io::uring_engine().unavailable().empty()) {
    EXPECT_THAT(io::uring_engine().unavailable(), HasSubstr("io_uring"));
  }
  const std::string name = write_large();
  const FileBytes file(name, &io::uring_engine());
  io::uring_faults().set_up = EPERM;
  ReadPlan plan;
  plan.add(file, 100, 1 << 20);
  Bytes bytes(plan.bytes()), expected(plan.bytes());
  io::fetch(plan, bytes);
  FileBytes(name).read(100, expected);
  EXPECT_TRUE(bytes == expected) << "blocked after the files were opened: read by pread";

  const io::Request large{.data_bytes = 100'000'000'000, .memory_bytes = 8'000'000'000};
  const io::EngineChoice choice = io::choose_engine(IoEngine::automatic, large);
  EXPECT_EQ(choice.engine->kind(), IoEngine::pread);
  EXPECT_THAT(choice.reason, AllOf(HasSubstr("100 GB are too much for 8 GB of memory; no io_uring: ")));
  try {
    io::choose_engine(IoEngine::io_uring, large);
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(), AllOf(HasSubstr("io = io_uring cannot be used here"), HasSubstr("auto")));
  }
}

TEST_F(EnginesTest, AutoGoesByMemory) {
  const io::EngineChoice small =
      io::choose_engine(IoEngine::automatic, {.data_bytes = 1'200'000'000, .memory_bytes = 8'000'000'000});
  EXPECT_EQ(small.engine->kind(), IoEngine::pread);
  EXPECT_EQ(small.reason, "1.2 GB fit in memory");
  const io::EngineChoice large =
      io::choose_engine(IoEngine::automatic, {.data_bytes = 7'000'000'000, .memory_bytes = 8'000'000'000});
  EXPECT_EQ(large.engine, available().front());
  const std::vector<std::string> decoded = {"x: pread + own inflate"}, raw = {"x: pread"},
                                 library = {"x: H5Dread (compact)"};
  EXPECT_EQ(io::describe(small, decoded), "files: pread (1.2 GB fit in memory), bound by decoding");
  EXPECT_THAT(io::describe(small, raw), HasSubstr("bound by storage"));
  EXPECT_THAT(io::describe(small, library), HasSubstr("bound by HDF5's lock"));
  EXPECT_GT(io::free_memory_bytes(), 0U);
}

TEST(IoEngineTest, NamesAreThoseOfTheOption) {
  for (const char* name : {"auto", "pread", "io_uring", "hdf5"})
    EXPECT_EQ(to_string(parse_io_engine(name)), name);
  try {
    parse_io_engine("mmap");
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(), HasSubstr("auto, pread, io_uring, cufile, hdf5"));
  }
}

}  // namespace
}  // namespace bunchtrain::data
