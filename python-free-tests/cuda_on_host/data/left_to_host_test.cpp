// SPDX-License-Identifier: Apache-2.0
// What a device cannot decode: said before, or left to the host; and cuFile into its memory, which may fail half-way.
#include <dlfcn.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "../../unit/data/fake_cufile.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "device_decoding_fixture.hpp"
#include "io/cufile_engine.hpp"
#include "loader/decoding_choice.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST_F(DeviceDecodingTest, WhatIsNotFiniteIsNamedByTheHostOrTakesTheCardsValue) {
  std::string policy(kCard);
  policy.replace(policy.find("length = 4"), 10, "length = 4\nnan = 0.0");
  for (const float odd : {kNan, std::numeric_limits<float>::infinity()})
    for (const std::size_t column : {0U, 2U}) {
      std::vector<float> values = particles();
      values[(271 * kSlots + 1) * 4 + column] = odd;
      const std::string file = write_file(H5T_IEEE_F32LE, kChunked, values);
      DatasetPtr jets;
      try {
        jets = open(file, write_card(policy));
      } catch (const DataError&) {
        EXPECT_TRUE(std::isinf(odd)) << "only NaN has a value to take its place; the survey meets the row";
        continue;
      }
      const Seen seen = compare(jets, {"features"}, options(DecodeOn::device), options(DecodeOn::host));
      EXPECT_GT(seen.left_to_host, 0);
      EXPECT_GT(seen.device_ranges, seen.left_to_host);
    }
}

TEST_F(DeviceDecodingTest, StatisticsTellWhatWasLeftToTheHost) {
  LoaderStatistics statistics;
  EXPECT_THAT(statistics.describe(), testing::Not(HasSubstr("left to the host")));
  statistics.device_ranges = 41;
  statistics.left_to_host = 2;
  EXPECT_THAT(statistics.describe(),
              testing::EndsWith(", 41 ranges decoded by the GPU and 2 left to the host"));
}

/// As rot of a disk, after the file was opened: the words of the host, or weight 0.
TEST_F(DeviceDecodingTest, ARowThatGoesBadIsRefusedInTheSameWordsOrHasWeightZero) {
  const std::string file = write_file(H5T_IEEE_F32LE, kContiguous);
  const hid_t opened = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(opened, "particles", H5P_DEFAULT);
  const haddr_t begin = H5Dget_offset(dataset);
  H5Dclose(dataset);
  H5Fclose(opened);
  const DatasetPtr jets = open(file, write_card());
  const auto written = std::filesystem::last_write_time(file);
  std::fstream raw(file, std::ios::in | std::ios::out | std::ios::binary);
  raw.seekp(static_cast<std::streamoff>(begin + 20 * kSlots * 4 * sizeof(float)));
  raw.write(reinterpret_cast<const char*>(&kNan), sizeof kNan);
  raw.close();
  std::filesystem::last_write_time(file, written);
  const std::string by_host = refusal_of(jets, options(DecodeOn::host));
  EXPECT_THAT(by_host, AllOf(HasSubstr("row 20, particle 0: part.deta is NaN"), HasSubstr(file)));
  EXPECT_EQ(refusal_of(jets, options(DecodeOn::device)), by_host);
  DataLoaderOptions device = options(DecodeOn::device), host = options(DecodeOn::host);
  device.on_bad = host.on_bad = BadData::zero_weight;
  EXPECT_GT(compare(jets, {"features"}, device, host).left_to_host, 0);
}

TEST_F(DeviceDecodingTest, SaysWhyItCannotDecode) {
  const auto refusal = [&](const DatasetPtr& data, CollationPtr collation = nullptr) {
    DataLoaderOptions asked = options(DecodeOn::device);
    asked.collation = std::move(collation);
    return refusal_of(data, asked);
  };
  const std::string plain = write_file(H5T_IEEE_F32LE, kChunked);
  const auto with = [&](std::string_view from, std::string_view to) {
    return open(plain, card_with(from, to));
  };
  EXPECT_THAT(refusal(with("length = 4", "length = 4\nsort_by_pt = true")),
              AllOf(HasSubstr("decode = device cannot be had here"), HasSubstr("sorts particles by pT"),
                    HasSubstr("auto takes the host")));
  EXPECT_THAT(refusal(with("mask = \"part.mask > 0.5\"", "mask = \"log(part.ptrel + 1) > 0.01\"")),
              HasSubstr("functions whose last bit"));
  EXPECT_THAT(refusal(with("mask = \"part.mask > 0.5\"", "mask = \"part.mask * jet.pt > 0.5\"")),
              HasSubstr("takes values of the jet"));
  EXPECT_THAT(refusal(with("observers = [\"jet.pt\"]", "observers = [\"sum(part.ptrel * jet.pt)\"]")),
              HasSubstr("a sum() over particles takes values of the jet"));
  EXPECT_THAT(refusal(with("[split]", "[weights]\nsample = \"sum(part.ptrel)\"\n[split]")),
              HasSubstr("label, weights or targets are made of values of particles"));
  std::string inputs = "features = [";
  for (int i = 0; i < 70; ++i) inputs += (i > 0 ? ", " : "") + ("\"part.deta * " + std::to_string(i) + "\"");
  EXPECT_THAT(refusal(with("features = [\"log(part.pt)\", [\"part.deta\", \"auto\"]]", inputs + "]")),
              HasSubstr("more than 64 values at once"));
  const StorageChoice deflated{"deflated", {37, kSlots, 4}, [](hid_t create) { H5Pset_deflate(create, 1); }};
  EXPECT_THAT(refusal(open(write_file(H5T_IEEE_F32LE, deflated), write_card())),
              HasSubstr("particles: pread + own inflate"));
  NamedTensors tensors;
  tensors.set("features", at::arange(10, at::kFloat).unsqueeze(1));
  EXPECT_THAT(refusal(make_memory_dataset(std::move(tensors))), HasSubstr("made by the host alone"));
}

TEST_F(DeviceDecodingTest, SaysOnceWhoDecodes) {
  const auto note = [](const DatasetPtr& data, DecodeOn where, c10::Device device) {
    DataLoaderOptions asked = options(where);
    asked.device = device;
    asked.collation = make_row_collation();
    return choose_decoding(*data, asked).note;
  };
  const c10::Device gpu(c10::kCUDA, 0);
  const DatasetPtr plain = open(write_file(H5T_IEEE_F32LE, kChunked), write_card());
  EXPECT_EQ(note(plain, DecodeOn::automatic, gpu),
            "loader: the host decodes; decode = device lets the GPU do it, which nobody has measured yet");
  EXPECT_EQ(note(plain, DecodeOn::device, gpu),
            "loader: inputs are computed on cuda:0, from bytes as they are stored");
  EXPECT_EQ(note(plain, DecodeOn::host, gpu), "");
  EXPECT_EQ(note(plain, DecodeOn::automatic, c10::kCPU), "") << "nothing to choose";
  const DatasetPtr sorted =
      open(write_file(H5T_IEEE_F32LE, kChunked), card_with("length = 4", "length = 4\nsort_by_pt = true"));
  EXPECT_EQ(
      note(sorted, DecodeOn::automatic, gpu),
      "loader: the host decodes; the GPU could not: the card sorts particles by pT, which the host does");
}

TEST_F(DeviceDecodingTest, ADeviceWithoutMemoryIsAnErrorWithTheWayOut) {
  const DatasetPtr jets = open(write_file(H5T_IEEE_F32LE, kContiguous), write_card());
  host_decoding_device().memory.none_left = true;
  const std::string refusal = refusal_of(jets, options(DecodeOn::device));
  host_decoding_device().memory.none_left = false;
  EXPECT_THAT(refusal, AllOf(HasSubstr("the GPU has no 32768 bytes left"), HasSubstr("decode = host")));
}

/// Collations of one's own copy tensors of the host.
class FirstElements final : public Collation {
 public:
  std::string kind() const override { return "first elements"; }
  NamedTensors collate(std::span<const CollatedSample>, const SampleBlock& like, std::span<const std::string>,
                       const AllocateTensor&) const override {
    return like.tensors;
  }
  std::int64_t bytes(std::int64_t, std::int64_t, const SampleBlock&,
                     std::span<const std::string>) const override {
    return 0;
  }
};

TEST_F(DeviceDecodingTest, CollationsOfOnesOwnAreTheHosts) {
  DataLoaderOptions asked = options(DecodeOn::device);
  asked.collation = std::make_shared<FirstElements>();
  EXPECT_THAT(refusal_of(open(write_file(H5T_IEEE_F32LE, kContiguous), write_card()), asked),
              HasSubstr("batches are made by the collation 'first elements'"));
}

TEST_F(DeviceDecodingTest, ChunksThatWereNeverWrittenAreFilledByTheHost) {
  const std::string file = path("part.h5");
  const hid_t written = create_file(file);
  const hsize_t extent[] = {kRows, kSlots, 4}, chunk[] = {50, kSlots, 4}, count[] = {100, kSlots, 4},
                none[] = {0, 0, 0};
  const hid_t space = H5Screate_simple(3, extent, nullptr), memory = H5Screate_simple(3, count, nullptr);
  const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(create, 3, chunk);
  const hid_t dataset =
      H5Dcreate2(written, "particles", H5T_IEEE_F32LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, none, nullptr, count, nullptr);
  H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, particles().data());
  std::vector<float> jets(kRows * 3, 50);
  std::vector<int> numbers(kRows);
  for (std::size_t i = 0; i < kRows; ++i) numbers[i] = static_cast<int>(i % 2);
  write_floats(written, "jets", {kRows, 3}, jets);
  for (const char* name : {"label", "event"})
    write_dataset(written, name, H5T_STD_I32LE, H5T_NATIVE_INT, {kRows}, numbers.data());
  for (const hid_t id : {dataset}) H5Dclose(id);
  H5Pclose(create);
  H5Sclose(space);
  H5Sclose(memory);
  H5Fclose(written);
  const DatasetPtr jets_with_gaps = open(file, write_card("missing = \"fill\"\n" + std::string(kCard)));
  EXPECT_THAT(refusal_of(jets_with_gaps, options(DecodeOn::device)),
              HasSubstr("particles: written in part only"));
}

/// With a library that stands in for cuFile; "device" memory is registered.
class DirectDecodingTest : public DeviceDecodingTest {
 protected:
  void SetUp() override {
    DeviceDecodingTest::SetUp();
    std::filesystem::create_directories(path("udev"));
    reset();
    engine_ = io::make_cufile_engine({.library = BUNCHTRAIN_FAKE_CUFILE,
                                      .devices = path("udev"),
                                      .every_file_system = true,
                                      .memory = &host_decoding_device().memory,
                                      .readers = 2,
                                      .patience = std::chrono::milliseconds(200)});
    host_decoding_device().direct = engine_.get();
    host_decoding_device().memory.copies = host_decoding_device().memory.filled_by_host = 0;
  }
  void TearDown() override {
    engine_.reset();
    reset();
    DeviceDecodingTest::TearDown();
  }
  static FakeCufile& fake() {
    static void* library = ::dlopen(BUNCHTRAIN_FAKE_CUFILE, RTLD_NOW | RTLD_LOCAL);
    static auto* get = reinterpret_cast<FakeCufile* (*)()>(::dlsym(library, "fake_cufile"));
    return *get();
  }
  static void reset() {
    fake().reads = FakeCufile::Reads::well;
    fake().reads_done = fake().misuses = 0;
  }

  std::unique_ptr<const io::Engine> engine_;
};

TEST_F(DirectDecodingTest, BytesGoStraightIntoMemoryOfTheDevice) {
  for (const StorageChoice& storage : {kChunked, kShuffled}) {
    host_decoding_device().memory.copies = 0;
    const DatasetPtr jets = open(write_file(H5T_IEEE_F32BE, storage), write_card());
    const Seen seen = compare(jets, {"features"}, options(DecodeOn::device), options(DecodeOn::host));
    EXPECT_EQ(seen.left_to_host, 0);
    EXPECT_EQ(fake().misuses, 0) << "aligned, and into registered memory";
    EXPECT_GE(host_decoding_device().memory.copies, seen.device_ranges);
    EXPECT_EQ(host_decoding_device().memory.filled_by_host, 0);
  }
}

TEST_F(DirectDecodingTest, WhatTheLibraryFailsAtHalfWayIsReadByTheHost) {
  using Reads = FakeCufile::Reads;
  const DatasetPtr jets = open(write_file(H5T_IEEE_F32LE, kContiguous), write_card());
  for (const Reads failure :
       {Reads::with_errno, Reads::minus_five, Reads::short_by_a_page, Reads::with_code}) {
    reset();
    DataLoader on_device(jets, options(DecodeOn::device)), on_host(jets, options(DecodeOn::host));
    for (int step = 0; step < 12; ++step) {
      if (step == 3) fake().reads = failure;
      const auto found = on_device.next(), expected = on_host.next();
      ASSERT_EQ(found.has_value(), expected.has_value());
      if (found) expect_same(*found, *expected, {"features"});
    }
  }
  EXPECT_GT(host_decoding_device().memory.filled_by_host, 0);
  EXPECT_EQ(fake().misuses, 0);
}

}  // namespace
}  // namespace bunchtrain::data
