// SPDX-License-Identifier: Apache-2.0
// The engine of cuFile with a library that the tests build: it brings the bytes of pread whatever the library does.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "counted_slabs.hpp"
#include "fake_cufile.hpp"
#include "hdf5_samples.hpp"
#include "io/cufile_engine.hpp"
#include "io/engine_choice.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;
using Reads = FakeCufile::Reads;

constexpr std::size_t kFileBytes = (std::size_t{10} << 20) + 777;

class CufileTest : public Hdf5FilesTest {
 protected:
  void SetUp() override {
    Hdf5FilesTest::SetUp();
    std::vector<std::uint64_t> words(kFileBytes / 8 + 1);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = mix64(7, i);
    std::ofstream(path("data"), std::ios::binary)
        .write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(kFileBytes));
    std::filesystem::create_directories(path("udev"));
    reset();
  }
  void TearDown() override {
    reset();
    Hdf5FilesTest::TearDown();
  }

  static FakeCufile& fake() {
    static void* library = ::dlopen(BUNCHTRAIN_FAKE_CUFILE, RTLD_NOW | RTLD_LOCAL);
    static auto* get = reinterpret_cast<FakeCufile* (*)()>(::dlsym(library, "fake_cufile"));
    return *get();
  }
  static void reset() {
    FakeCufile& state = fake();
    state.driver_code = state.handle_code = state.buffer_code = 0;
    state.reads = Reads::well;
    state.reads_done = state.handles_made = state.misuses = 0;
  }
  io::CufileEnvironment environment() {
    return {.library = BUNCHTRAIN_FAKE_CUFILE,
            .devices = path("udev"),
            .every_file_system = true,
            .memory = &memory_,
            .readers = 3,
            .patience = std::chrono::milliseconds(200)};
  }

  /// Pieces of all sizes and alignments, the last one to the end of the file.
  Bytes read_by(const io::Engine& engine, const FileBytes& file) const {
    ReadPlan plan;
    for (const auto& [offset, bytes] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
             {0, 4096}, {1, 3}, {4095, 2}, {8192, 100000}, {12345, 5 << 20}, {kFileBytes - 9, 9}, {777, 0}})
      plan.add(file, offset, bytes);
    Bytes bytes(plan.bytes());
    engine.read(plan.pieces, bytes);
    return bytes;
  }
  /// The same bytes as pread brings.
  void expect_bytes(const io::Engine& engine) const {
    const FileBytes file(path("data"));
    EXPECT_EQ(read_by(engine, file), read_by(io::pread_engine(), file));
  }
  /// What the file's engine says of it after a read.
  std::string reason_after_reading(const io::Engine& engine) const {
    expect_bytes(engine);
    return engine.why_not(FileBytes(path("data")));
  }

  CountedSlabs memory_;
};

TEST_F(CufileTest, BringsTheBytesThroughRegisteredSlabsAndGivesEverythingBack) {
  {
    const auto engine = io::make_cufile_engine(environment());
    EXPECT_EQ(engine->unavailable(), "");
    expect_bytes(*engine);
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) callers.emplace_back([&] { expect_bytes(*engine); });
    for (std::thread& caller : callers) caller.join();
    EXPECT_GT(fake().handles_made, 1) << "one handle per reader";
    EXPECT_LE(fake().handles_made, 3);
    EXPECT_GT(memory_.copies, 20);
    EXPECT_EQ(engine->why_not(FileBytes(path("data"))), "");
  }
  EXPECT_EQ(fake().misuses, 0) << "offsets, sizes and memory are aligned, memory is registered";
  EXPECT_EQ(fake().handles, 0);
  EXPECT_EQ(fake().buffers, 0);
  EXPECT_EQ(memory_.slabs, 0);
}

TEST_F(CufileTest, ShortReadsGoOnWhereTheyEnded) {
  const auto engine = io::make_cufile_engine(environment());
  for (const Reads reads : {Reads::in_pieces, Reads::short_by_a_page}) {
    fake().reads = reads;
    EXPECT_EQ(reason_after_reading(*engine), "") << "no reason to leave the file to others";
  }
  EXPECT_EQ(fake().misuses, 0);
}

TEST_F(CufileTest, ReadsThatFailAreReadByPread) {
  const auto engine = io::make_cufile_engine(environment());
  for (const Reads reads : {Reads::with_errno, Reads::minus_five}) {
    fake().reads = reads;
    EXPECT_EQ(reason_after_reading(*engine), "");
  }
}

TEST_F(CufileTest, FilesThatItRefusesAreLeftToOthers) {
  fake().reads = Reads::with_code;
  EXPECT_THAT(reason_after_reading(*io::make_cufile_engine(environment())),
              HasSubstr("cuFile error 5008 (not for this file)"));
  fake().reads = Reads::well;
  fake().handle_code = 5030;
  EXPECT_THAT(reason_after_reading(*io::make_cufile_engine(environment())),
              HasSubstr("cuFile error 5030 (an internal error, as on overlay file systems)"));
  fake().handle_code = 0;
  fake().buffer_code = 5036;
  EXPECT_THAT(reason_after_reading(*io::make_cufile_engine(environment())), HasSubstr("cuFile error 5036"));
  fake().buffer_code = 0;
  memory_.none_left = true;
  EXPECT_THAT(reason_after_reading(*io::make_cufile_engine(environment())), HasSubstr("no memory"));
}

TEST_F(CufileTest, ALibraryThatGivesNoAnswerIsAskedNoMore) {
  fake().reads = Reads::never;
  {
    const auto engine = io::make_cufile_engine(environment());
    expect_bytes(*engine);
    EXPECT_THAT(engine->unavailable(), HasSubstr("it gave no answer for 0.2 s"));
    EXPECT_THAT(engine->why_not(FileBytes(path("data"))), HasSubstr("no answer"));
  }
  EXPECT_GT(memory_.slabs, 0) << "the library may still write there";
  fake().reads = Reads::well;
  for (int i = 0; i < 400 && memory_.slabs > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(memory_.slabs, 0);
}

TEST_F(CufileTest, SaysWhyItIsUnavailable) {
  auto none = environment();
  none.library = path("libcufile.so.0");
  EXPECT_THAT(io::make_cufile_engine(none)->unavailable(), HasSubstr("libcufile.so.0 cannot be loaded"));
  auto in_container = environment();
  in_container.devices = path("nowhere");
  EXPECT_THAT(io::make_cufile_engine(in_container)->unavailable(),
              AllOf(HasSubstr("there is no " + path("nowhere")), HasSubstr("docker run -v")));
  auto windows = environment();
  windows.kernel = path("version");
  std::ofstream(path("version")) << "Linux version 6.6 (Microsoft)";
  EXPECT_THAT(io::make_cufile_engine(windows)->unavailable(), HasSubstr("Windows"));
  auto foreign = environment();
  foreign.library = "libc.so.6";
  EXPECT_THAT(io::make_cufile_engine(foreign)->unavailable(), HasSubstr("lacks calls of cuFile"));
  fake().driver_code = 5001;
  EXPECT_THAT(
      io::make_cufile_engine(environment())->unavailable(),
      AllOf(HasSubstr("its driver does not open"), HasSubstr("5001 (its kernel driver is not loaded)")));
}

std::string refusal_to_choose(const io::Engine& engine, const std::string& file) {
  io::EngineChoice choice{.engine = &engine, .reason = "asked for"};
  const std::vector<std::filesystem::path> files = {file};
  try {
    io::add_probe(choice, files);
  } catch (const ConfigError& error) {
    return error.message();
  }
  return choice.reason;
}

TEST_F(CufileTest, SaysOnWhichFileSystemsItIsNot) {
  auto strict = environment();
  strict.every_file_system = false;
  EXPECT_THAT(io::make_cufile_engine(strict)->why_not_file("/proc/self/stat"),
              HasSubstr("a file system without it (proc)"));
  EXPECT_THAT(refusal_to_choose(*io::make_cufile_engine(strict), "/proc/self/stat"), HasSubstr("(proc)"));
}

TEST_F(CufileTest, AProbeComparesBytesAndSpeedWithPread) {
  EXPECT_THAT(refusal_to_choose(*io::make_cufile_engine(environment()), path("data")),
              AllOf(HasSubstr("asked for, "), HasSubstr(" GB per s where pread has ")));
  fake().reads = Reads::other_bytes;
  EXPECT_THAT(
      refusal_to_choose(*io::make_cufile_engine(environment()), path("data")),
      AllOf(HasSubstr("cufile cannot be used for these files"), HasSubstr("brings others than pread")));
  fake().reads = Reads::with_code;
  EXPECT_THAT(refusal_to_choose(*io::make_cufile_engine(environment()), path("data")), HasSubstr("5008"));
}

TEST_F(CufileTest, AskedForWhereThereIsNoneIsAnErrorWithTheReason) {
  if (io::cufile_engine().unavailable().empty()) return;  // a machine that has it
  try {
    io::choose_engine(IoEngine::cufile, io::Request{});
    FAIL() << "no exception";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(),
                AllOf(HasSubstr("cufile cannot be used here"), HasSubstr("auto takes what can")));
  }
}

TEST_F(CufileTest, DatasetsAreReadByItAsByPread) {
  const std::string name = path("rows.h5");
  std::vector<float> values(4000 * 33);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1013);
  const hid_t file = create_file(name);
  write_floats(file, "x", {4000, 33}, values,
               {"", {50, 33}, [](hid_t create) { H5Pset_deflate(create, 1); }});
  H5Fclose(file);
  const auto engine = io::make_cufile_engine(environment());
  const auto rows_of = [&](const io::Engine* by) {
    const OpenedFile opened(name, by);
    const StoredDataset dataset = opened.open("x", false);
    EXPECT_EQ(dataset.path_text(), by == nullptr ? "pread + own inflate" : "cufile + own inflate");
    Bytes bytes(values.size() * sizeof(float));
    dataset.read(0, 4000, [&](std::size_t first, std::size_t rows, const std::byte* from) {
      std::memcpy(bytes.data() + first * 132, from, rows * 132);
    });
    return bytes;
  };
  EXPECT_EQ(rows_of(engine.get()), rows_of(nullptr));
  EXPECT_GT(fake().reads_done, 0);
}

}  // namespace
}  // namespace bunchtrain::data
