// SPDX-License-Identifier: Apache-2.0
// Batches whose inputs are made by kernels, from bytes as they are stored, are those that the host makes.
#include <ATen/ops/equal.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "../../unit/data/fake_cufile.hpp"
#include "../../unit/data/jet_file_fixture.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hit_dataset.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "host_decoding_device.hpp"
#include "io/cufile_engine.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Names = std::vector<std::string>;

constexpr hsize_t kRows = 300;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const StorageChoice kContiguous;
const StorageChoice kChunked{"chunked", {37, kSlots, 4}};

/// Whole numbers that every type holds; row % 6 + 1 of the six slots are real.
std::vector<float> particles() {
  std::vector<float> values;
  for (hsize_t row = 0; row < kRows; ++row)
    for (hsize_t slot = 0; slot < kSlots; ++slot) {
      const bool real = slot <= row % kSlots;
      values.push_back(static_cast<float>(slot + row % 7));
      values.push_back(static_cast<float>(slot * 3));
      values.push_back(real ? static_cast<float>(1 + (slot * row) % 50) : 0);
      values.push_back(real ? 1 : 0);
    }
  return values;
}

class DeviceDecodingTest : public JetFileTest {
 protected:
  void SetUp() override {
    JetFileTest::SetUp();
    host_decoding_device().direct = nullptr;
  }
  void TearDown() override {
    host_decoding_device().direct = nullptr;
    EXPECT_EQ(host_decoding_device().memory.slabs, 0) << "slabs are given back";
    JetFileTest::TearDown();
  }

  /// For `kCard`.
  std::string write_file(hid_t type, const StorageChoice& storage,
                         const std::vector<float>& values = particles(), std::size_t rows = kRows) const {
    const hid_t file = create_file(path("jets.h5"));
    std::vector<float> jets;
    std::vector<int> labels, events;
    for (std::size_t row = 0; row < rows; ++row) {
      jets.insert(jets.end(), {100 + static_cast<float>(row), 0.2F * static_cast<float>(row % 5) - 0.4F, 10});
      labels.push_back(static_cast<int>(row) % 2);
      events.push_back(static_cast<int>(row) / 4);
    }
    write_dataset(file, "particles", type, H5T_NATIVE_FLOAT, {rows, kSlots, 4}, values.data(), storage);
    write_floats(file, "jets", {rows, 3}, jets);
    write_dataset(file, "label", H5T_STD_I32LE, H5T_NATIVE_INT, {rows}, labels.data());
    write_dataset(file, "event", H5T_STD_I32LE, H5T_NATIVE_INT, {rows}, events.data());
    H5Fclose(file);
    return path("jets.h5");
  }
  DatasetPtr open(const std::string& file, const std::string& card, bool ragged = false,
                  bool pad_to_longest = false) const {
    return JetDataset({.files = {file}, .card = card, .ragged = ragged, .pad_to_longest = pad_to_longest})
        .all();
  }

  static DataLoaderOptions options(DecodeOn where) {
    return {.global_batch = 48, .seed = 3, .prefetch_bytes = 1 << 14, .decode = where};
  }
};

std::int64_t order_of(float value) {
  const auto bits = std::bit_cast<std::int32_t>(value);
  return bits < 0 ? std::int64_t{std::numeric_limits<std::int32_t>::min()} - bits : bits;
}

/// The largest distance of two tensors in numbers between.
std::int64_t ulps(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor a = found.contiguous(), b = expected.contiguous();
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i)
    most = std::max(
        most, std::abs(order_of(a.const_data_ptr<float>()[i]) - order_of(b.const_data_ptr<float>()[i])));
  return most;
}

/// What is a function of columns differs from the host's vectors by their error; all else has the same bits.
void expect_same(const Batch& found, const Batch& expected, const Names& functions) {
  EXPECT_TRUE(at::equal(found.sample_ids, expected.sample_ids));
  EXPECT_EQ(found.step, expected.step);
  EXPECT_EQ(found.elements, expected.elements);
  EXPECT_EQ(found.ragged, expected.ragged);
  ASSERT_EQ(found.tensors.size(), expected.tensors.size());
  for (const auto& [name, tensor] : expected.tensors) {
    ASSERT_EQ(found[name].sizes(), tensor.sizes()) << name;
    if (tensor.numel() == 0 || std::ranges::find(functions, name) == functions.end()) {
      EXPECT_TRUE(at::equal(found[name], tensor)) << name << " of step " << expected.step;
    } else {
      const double difference = (found[name] - tensor).abs().div(tensor.abs().add(1)).max().item<double>();
      EXPECT_LE(difference, 2e-5) << name;
    }
  }
}

struct Seen {
  std::int64_t batches = 0, device_ranges = 0, left_to_host = 0;
};

/// Two epochs from the device and from the host.
Seen compare(const DatasetPtr& jets, const Names& functions, DataLoaderOptions device,
             DataLoaderOptions host) {
  DataLoader on_device(jets, std::move(device)), on_host(jets, std::move(host));
  Seen seen;
  for (int epoch = 0; epoch < 2; ++epoch) {
    while (const auto expected = on_host.next()) {
      const auto found = on_device.next();
      if (!found) throw std::runtime_error("an epoch ends early");
      expect_same(*found, *expected, functions);
      ++seen.batches;
    }
    EXPECT_FALSE(on_device.next());
    seen.device_ranges += on_device.statistics().device_ranges;
    seen.left_to_host += on_device.statistics().left_to_host;
  }
  return seen;
}

/// log(ptrel * pt) of a real particle, each operation in double precision and rounded once; else 0.
float logarithm_of(std::int64_t row, std::int64_t slot) {
  static const std::vector<float> values = particles();
  const auto at = static_cast<std::size_t>((row * kSlots + slot) * 4);
  if (values[at + 3] == 0) return 0;
  const float pt = values[at + 2] * (100 + static_cast<float>(row));
  return static_cast<float>(std::log(static_cast<double>(pt)));
}

/// Types of files in either byte order; whole and in chunks that ranges cut.
TEST_F(DeviceDecodingTest, ColumnsHaveTheBitsOfTheHostAndFunctionsAreWithinTwoUlp) {
  hid_t half = H5Tcopy(H5T_IEEE_F32BE);
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  const std::string card = write_card();
  for (const hid_t type : {H5T_IEEE_F32LE, H5T_IEEE_F32BE, H5T_IEEE_F64LE, H5T_IEEE_F64BE, half, H5T_STD_I8LE,
                           H5T_STD_I16BE, H5T_STD_U32LE, H5T_STD_I64BE})
    for (const StorageChoice& storage : {kContiguous, kChunked}) {
      const DatasetPtr jets = open(write_file(type, storage), card);
      ASSERT_EQ(jets->device_support().why_not, "") << storage.name;
      const Seen seen = compare(jets, {"features"}, options(DecodeOn::device), options(DecodeOn::host));
      EXPECT_GT(seen.batches, 10);
      EXPECT_GT(seen.device_ranges, 1);
      EXPECT_EQ(seen.left_to_host, 0);
      DataLoader on_device(jets, options(DecodeOn::device)), on_host(jets, options(DecodeOn::host));
      const Batch found = on_device.next().value(), expected = on_host.next().value();
      EXPECT_TRUE(at::equal(found["features"].select(2, 1), expected["features"].select(2, 1)))
          << "standardised as on the host";
      const at::Tensor logarithms = found["features"].select(2, 0).clone();
      for (std::int64_t i = 0; i < found.size(); ++i)
        for (std::int64_t slot = 0; slot < logarithms.size(1); ++slot)
          logarithms[i][slot] = logarithm_of(found.sample_ids[i].item<std::int64_t>(), slot);
      EXPECT_LE(ulps(found["features"].select(2, 0), logarithms), 2);
    }
  H5Tclose(half);
}

#pragma pack(push, 1)
struct Track {
  double pt;
  std::int16_t deta;
  float dphi;
  std::int8_t valid;
};
#pragma pack(pop)

/// Jets and their particles in one dataset of compounds: its bytes are on the device, the labels come from there.
TEST_F(DeviceDecodingTest, CompoundsAreTakenApart) {
  const hid_t track = H5Tcreate(H5T_COMPOUND, sizeof(Track));
  H5Tinsert(track, "pt", HOFFSET(Track, pt), H5T_NATIVE_DOUBLE);
  H5Tinsert(track, "deta", HOFFSET(Track, deta), H5T_NATIVE_INT16);
  H5Tinsert(track, "dphi", HOFFSET(Track, dphi), H5T_NATIVE_FLOAT);
  H5Tinsert(track, "valid", HOFFSET(Track, valid), H5T_NATIVE_INT8);
  const hid_t jet = H5Tcreate(H5T_COMPOUND, sizeof(std::int32_t));
  H5Tinsert(jet, "flavour", 0, H5T_NATIVE_INT32);
  std::vector<Track> tracks;
  std::vector<std::int32_t> flavours;
  for (int row = 0; row < 200; ++row) {
    flavours.push_back(row % 2 * 5);
    for (int slot = 0; slot < 5; ++slot)
      tracks.push_back({1000.5 * row + slot, static_cast<std::int16_t>(row - slot),
                        0.25F * static_cast<float>(slot), static_cast<std::int8_t>(slot < row % 5)});
  }
  for (const StorageChoice& storage : {StorageChoice{}, StorageChoice{"chunked", {33, 5}}}) {
    const hid_t file = create_file(path("upp.h5"));
    write_dataset(file, "tracks", track, track, {200, 5}, tracks.data(), storage);
    write_dataset(file, "jets", jet, jet, {200}, flavours.data());
    H5Fclose(file);
    const Seen seen = compare(open(path("upp.h5"), write_card(kCompoundCard)), {}, options(DecodeOn::device),
                              options(DecodeOn::host));
    EXPECT_EQ(seen.left_to_host, 0);
    EXPECT_GT(seen.device_ranges, 0);
  }
  H5Tclose(track);
  H5Tclose(jet);
}

/// One table of jets, as top_tagging has it: particles and label in a compound, jets as sums over all real particles, of which the
/// leading ones are taken.
struct Row {
  float particles[8 * 4];  ///< E, px, py, pz
  std::int32_t is_top;
};

TEST_F(DeviceDecodingTest, SumsOverParticlesAndWhatFollowsFromThemHaveTheBitsOfTheHost) {
  std::vector<Row> rows(260);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].is_top = static_cast<std::int32_t>(i % 2);
    for (std::size_t slot = 0; slot < 8; ++slot) {
      const auto x = static_cast<float>(i), s = static_cast<float>(slot);
      const bool real = slot < 3 + i % 6;
      const float momentum[3] = {30.1F / (s + 1) + std::sin(x), 0.3F * s - 1.7F + 0.01F * x,
                                 std::cos(x * s) * 9};
      const float energy = std::hypot(momentum[0], momentum[1], momentum[2]);
      float* out = rows[i].particles + 4 * slot;
      out[0] = real ? energy : 0;
      for (int k = 0; k < 3; ++k) out[k + 1] = real ? momentum[k] : 0;
    }
  }
  const hsize_t extent[] = {32};
  const hid_t block = H5Tarray_create2(H5T_NATIVE_FLOAT, 1, extent),
              type = H5Tcreate(H5T_COMPOUND, sizeof(Row));
  H5Tinsert(type, "values_block_0", HOFFSET(Row, particles), block);
  H5Tinsert(type, "values_block_1", HOFFSET(Row, is_top), H5T_NATIVE_INT32);
  const hid_t file = create_file(path("top.h5"));
  write_dataset(file, "table", type, type, {rows.size()}, rows.data(), {"chunked", {50}});
  H5Fclose(file);
  H5Tclose(block);
  H5Tclose(type);
  std::string card(features::builtin_card_text("top_tagging"));
  const auto change = [&](std::string_view from, std::string_view to) {
    card.replace(card.find(from), from.size(), to);
  };
  change("table/table:values_block_0[0:800]", "table:values_block_0");
  change("table/table:values_block_1", "table:values_block_1");
  change("\"ttv\", \"is_top\"", "\"is_top\"");
  change("length = 128", "length = 5");
  const DatasetPtr jets = open(path("top.h5"), write_card(card));
  ASSERT_EQ(jets->device_support().why_not, "");
  EXPECT_GT(jets->summary().truncated, 0);
  const Seen seen = compare(jets, {"points", "features"}, options(DecodeOn::device), options(DecodeOn::host));
  EXPECT_EQ(seen.left_to_host, 0);
  EXPECT_GT(seen.device_ranges, 0) << "observers, which are functions of the sums, were compared bit by bit";
}

/// Particles one behind the other: ragged batches, and padded ones of each kind.
TEST_F(DeviceDecodingTest, RaggedParticlesAreGatheredByEveryCollation) {
  const std::vector<float> padded = particles();
  std::vector<float> real;
  std::vector<std::int64_t> offsets = {0};
  std::vector<float> jets;
  std::vector<int> labels, events;
  for (std::size_t row = 0; row < kRows; ++row) {
    const std::size_t count = row % kSlots + 1, first = row * kSlots * 4;
    real.insert(real.end(), padded.begin() + static_cast<std::ptrdiff_t>(first),
                padded.begin() + static_cast<std::ptrdiff_t>(first + count * 4));
    offsets.push_back(offsets.back() + static_cast<std::int64_t>(count));
    jets.insert(jets.end(), {100 + static_cast<float>(row), 0, 10});
    labels.push_back(static_cast<int>(row) % 2);
    events.push_back(static_cast<int>(row) / 4);
  }
  const hid_t file = create_file(path("ragged.h5"));
  write_floats(file, "particles", {real.size() / 4, 4}, real, {"chunked", {64, 4}});
  write_floats(file, "jets", {kRows, 3}, jets);
  write_dataset(file, "offsets", H5T_STD_I64LE, H5T_NATIVE_INT64, {offsets.size()}, offsets.data());
  write_dataset(file, "label", H5T_STD_I32LE, H5T_NATIVE_INT, {kRows}, labels.data());
  write_dataset(file, "event", H5T_STD_I32LE, H5T_NATIVE_INT, {kRows}, events.data());
  H5Fclose(file);
  const std::string card =
      write_card(std::string(kCard) + "[layout]\ntype = \"csr\"\nrow_splits = \"offsets\"\n");
  for (const bool ragged : {false, true}) {
    const DatasetPtr dataset = open(path("ragged.h5"), card, ragged);
    EXPECT_GT(
        compare(dataset, {"features"}, options(DecodeOn::device), options(DecodeOn::host)).device_ranges, 0);
  }
  compare(open(path("ragged.h5"), card, false, true), {"features"}, options(DecodeOn::device),
          options(DecodeOn::host));
  const DatasetPtr dataset = open(path("ragged.h5"), card, true);
  DataLoaderOptions device = options(DecodeOn::device), host = options(DecodeOn::host);
  device.collation = host.collation = make_padded_collation(3);
  device.length_bucket_batches = host.length_bucket_batches = 4;
  compare(dataset, {"features"}, device, host);
  device.length_bucket_batches = host.length_bucket_batches = 0;
  device.collation = host.collation = nullptr;
  device.global_elements = host.global_elements = 100;
  compare(dataset, {"features"}, device, host);
}

TEST_F(DeviceDecodingTest, SelectionsWeightsTargetsPartsAndRanksStay) {
  std::string text(kCard);
  text +=
      "[select]\njets = \"jet.pt > 130\"\n[weights]\nsample = \"jet.mass\"\n[targets]\nmomentum = { of = \"jet.pt\" }\n";
  const JetDataset dataset(
      {.files = {write_file(H5T_IEEE_F32LE, kChunked)}, .card = write_card(text), .targets = {"momentum"}});
  const auto [train, valid] = dataset.split({.valid_fraction = 0.3, .seed = 2});
  for (const DatasetPtr& part : {train, valid})
    for (const int rank : {0, 2}) {
      DataLoaderOptions device = options(DecodeOn::device), host = options(DecodeOn::host);
      device.rank = host.rank = rank;
      device.world_size = host.world_size = 3;
      device.shuffle = host.shuffle = part == train;
      const Seen seen = compare(part, {"features"}, device, host);
      EXPECT_EQ(seen.left_to_host, 0);
    }
}

TEST_F(DeviceDecodingTest, ALoaderGoesOnWhereTheOtherKindEnded) {
  const DatasetPtr jets = open(write_file(H5T_IEEE_F32LE, kContiguous), write_card());
  for (const DecodeOn first : {DecodeOn::device, DecodeOn::host}) {
    DataLoader whole(jets, options(DecodeOn::host)), before(jets, options(first));
    for (int i = 0; i < 4; ++i) whole.next(), before.next();
    DataLoader after(jets, options(first == DecodeOn::host ? DecodeOn::device : DecodeOn::host));
    after.load(before.state());
    while (const auto expected = whole.next()) expect_same(after.next().value(), *expected, {"features"});
    EXPECT_FALSE(after.next());
  }
}

/// What each kind of loader says when it meets the row.
std::string refusal_of(const DatasetPtr& jets, DataLoaderOptions options) {
  try {
    DataLoader loader(jets, std::move(options));
    while (loader.next()) continue;
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

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
  const DatasetPtr jets = open(write_file(H5T_IEEE_F32BE, kChunked), write_card());
  const Seen seen = compare(jets, {"features"}, options(DecodeOn::device), options(DecodeOn::host));
  EXPECT_EQ(seen.left_to_host, 0);
  EXPECT_EQ(fake().misuses, 0) << "aligned, and into registered memory";
  EXPECT_GE(host_decoding_device().memory.copies, seen.device_ranges);
  EXPECT_EQ(host_decoding_device().memory.filled_by_host, 0);
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
