// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Loaders whose samples are decoded on a "device" beside those of the host.

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../../unit/data/jet_file_fixture.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "host_decoding_device.hpp"

namespace bunchtrain::data {

using Names = std::vector<std::string>;

inline constexpr hsize_t kRows = 300;
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline const StorageChoice kContiguous;
inline const StorageChoice kChunked{"chunked", {37, kSlots, 4}};
inline const StorageChoice kShuffled{
    "shuffled", {37, kSlots, 4}, [](hid_t create) { H5Pset_shuffle(create); }};

/// Whole numbers that every type holds; row % 6 + 1 of the six slots are real.
inline std::vector<float> particles() {
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

/// What is a function of columns differs from the host's vectors by their error; all else has the same bits.
inline void expect_same(const Batch& found, const Batch& expected, const Names& functions) {
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
inline Seen compare(const DatasetPtr& jets, const Names& functions, DataLoaderOptions device,
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

/// What each kind of loader says when it meets the row.
inline std::string refusal_of(const DatasetPtr& jets, DataLoaderOptions options) {
  try {
    DataLoader loader(jets, std::move(options));
    while (loader.next()) continue;
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

}  // namespace bunchtrain::data
