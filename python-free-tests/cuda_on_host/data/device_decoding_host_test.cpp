// SPDX-License-Identifier: Apache-2.0
// Batches whose inputs are made by kernels, from bytes as they are stored, are those that the host makes.
#include <bit>
#include <cmath>

#include "device_decoding_fixture.hpp"

namespace bunchtrain::data {
namespace {

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

/// log(ptrel * pt) of a real particle, each operation in double precision and rounded once; else 0.
float logarithm_of(std::int64_t row, std::int64_t slot) {
  static const std::vector<float> values = particles();
  const auto at = static_cast<std::size_t>((row * kSlots + slot) * 4);
  if (values[at + 3] == 0) return 0;
  const float pt = values[at + 2] * (100 + static_cast<float>(row));
  return static_cast<float>(std::log(static_cast<double>(pt)));
}

/// Types of files in either byte order; whole and in chunks that ranges cut, shuffled or not.
TEST_F(DeviceDecodingTest, ColumnsHaveTheBitsOfTheHostAndFunctionsAreWithinTwoUlp) {
  hid_t half = H5Tcopy(H5T_IEEE_F32BE);
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  const std::string card = write_card();
  for (const hid_t type : {H5T_IEEE_F32LE, H5T_IEEE_F32BE, H5T_IEEE_F64LE, H5T_IEEE_F64BE, half, H5T_STD_I8LE,
                           H5T_STD_I16BE, H5T_STD_U32LE, H5T_STD_I64BE})
    for (const StorageChoice& storage : {kContiguous, kChunked, kShuffled}) {
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
  for (const StorageChoice& storage : {StorageChoice{}, StorageChoice{"chunked", {33, 5}},
                                       StorageChoice{"shuffled", {33, 5}, kShuffled.properties}}) {
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
  for (const StorageChoice& storage :
       {StorageChoice{"chunked", {64, 4}}, StorageChoice{"shuffled", {64, 4}, kShuffled.properties}}) {
    const hid_t file = create_file(path("ragged.h5"));
    write_floats(file, "particles", {real.size() / 4, 4}, real, storage);
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
          compare(dataset, {"features"}, options(DecodeOn::device), options(DecodeOn::host)).device_ranges,
          0);
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

}  // namespace
}  // namespace bunchtrain::data
