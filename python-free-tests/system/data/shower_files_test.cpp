// SPDX-License-Identifier: Apache-2.0
// The made Geant4 files: the properties that their README states.
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/features/shower_pipeline.hpp"

namespace bunchtrain::data {
namespace {

const std::string kFixed = BUNCHTRAIN_TEST_DATA "/showers/EleEscan_fixed_10_100_000.h5";
const std::string kAngle = BUNCHTRAIN_TEST_DATA "/showers/Ele_VarAngleMeas_10_100_000.h5";

/// Most memory that this process ever held.
std::int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

// Runs first, before anything else needs memory: 1.04 GB of cells pass through.
TEST(AShowerFilesTest, MemoryIsBoundedByThePrefetch) {
  const std::int64_t before = peak_bytes();
  const ShowerDataset showers({.files = {kAngle}, .threads = 2});
  constexpr std::int64_t kPrefetch = std::int64_t{64} << 20;
  DataLoader loader(showers.all(), {.global_batch = 64, .threads = 2, .prefetch_bytes = kPrefetch});
  std::int64_t samples = 0;
  while (const auto batch = loader.next()) samples += batch->size();
  EXPECT_EQ(samples, showers.size());
  RecordProperty("held_mib", std::to_string(loader.statistics().bytes_peak >> 20));
  RecordProperty("process_mib", std::to_string((peak_bytes() - before) >> 20));
  // A batch needs as many chunks as the shuffle window says; what is read ahead stays below the bound.
  EXPECT_LT(loader.statistics().bytes_peak, std::int64_t{320} << 20);
  EXPECT_LT(peak_bytes() - before, std::int64_t{480} << 20);
}

TEST(ShowerFilesTest, FixedAngle) {
  const ShowerDataset showers({.files = {kFixed}, .threads = 2});
  EXPECT_EQ(showers.card().name, "lcd_fixed");
  EXPECT_EQ(showers.size(), 4000);
  EXPECT_GT(showers.lowest_energy(), 10);
  EXPECT_LT(showers.highest_energy(), 100);
  EXPECT_NEAR(showers.overview().sampling_fraction, 0.0265, 0.0005);
  const auto split = showers.split({});
  EXPECT_EQ(split.train->size() + split.valid->size(), 4000);
  EXPECT_NEAR(static_cast<double>(split.valid->size()), 400, 60);
}

TEST(ShowerFilesTest, VariableAngle) {
  const ShowerDataset showers({.files = {kAngle}, .physical = true, .threads = 2});
  EXPECT_EQ(showers.card().name, "lcd_angle");
  EXPECT_LE(showers.size(), 4000);
  EXPECT_GT(showers.size(), 3900);
  EXPECT_NEAR(showers.overview().lowest_theta, 60 * std::acos(-1.0) / 180, 0.02);
  EXPECT_NEAR(showers.overview().highest_theta, 120 * std::acos(-1.0) / 180, 0.02);
  const auto block = showers.all()->read(0);
  EXPECT_TRUE(block.tensors["image"].sum({1, 2, 3}).allclose(block.tensors["sum"], 1e-4));
}

TEST(ShowerFilesTest, TheMeasuredAngleIsThatOfTheImage) {
  const ShowerDataset stored({.files = {kAngle}, .threads = 2});
  auto card = stored.card();
  card.measured_theta = {};
  const ShowerDataset measured({.files = {kAngle}, .threads = 2}, card);
  for (const std::size_t range : {std::size_t{0}, std::size_t{100}}) {
    const auto a = stored.all()->read(range).tensors["measured_theta"];
    const auto b = measured.all()->read(range).tensors["measured_theta"];
    EXPECT_LT((a - b).abs().max().item<float>(), 2e-5);
  }
}

TEST(ShowerFilesTest, Calogan) {
  const ShowerDataset showers({.files = {BUNCHTRAIN_TEST_DATA "/showers/calogan_eplus_51.h5"}});
  EXPECT_EQ(showers.card().name, "calogan");
  EXPECT_EQ(showers.overview().showers, 51);
  EXPECT_EQ(showers.all()->read(0).tensors["image"].size(1), 504);
}

}  // namespace
}  // namespace bunchtrain::data
