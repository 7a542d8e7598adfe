// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/simulate/gflash.hpp"

namespace bunchtrain::simulate {
namespace {

GflashDatasetOptions options_of(std::int64_t count) {
  return {.showers = {.cells = {9, 9, 25}, .lowest_energy = 10, .highest_energy = 20, .count = count},
          .first = 1000};
}

TEST(GflashDatasetTest, RangesCoverAllShowersOnce) {
  const data::DatasetPtr dataset = make_gflash_dataset(options_of(50));
  EXPECT_EQ(dataset->size(), 50);
  std::int64_t next = 0;
  for (const data::SampleRange& range : dataset->ranges()) {
    EXPECT_EQ(range.first, next);
    next += range.count;
  }
  EXPECT_EQ(next, 50);
}

TEST(GflashDatasetTest, HoldsTheShowersOfItsNumbers) {
  const GflashDatasetOptions options = options_of(50);
  const data::DatasetPtr dataset = make_gflash_dataset(options);
  const data::SampleBlock last = dataset->read(dataset->ranges().size() - 1);
  const NamedTensors showers =
      make_gflash_showers(options.showers, 1000 + last.range.first, last.range.count);
  EXPECT_TRUE(at::equal(last.tensors["image"], showers["image"]));
  EXPECT_TRUE(at::equal(last.tensors["energy"], showers["energy"]));
  EXPECT_TRUE(at::allclose(last.tensors["sum"], showers["image"].sum({1, 2, 3})));
  EXPECT_FALSE(last.tensors.contains("theta"));
}

TEST(GflashDatasetTest, ScalesBeforeItTakesThePower) {
  GflashDatasetOptions options = options_of(16);
  options.showers.inclined = true;
  const NamedTensors plain = make_gflash_dataset(options)->read(0).tensors;
  options.image_scale = 50;
  options.image_power = 0.85;
  const NamedTensors scaled = make_gflash_dataset(options)->read(0).tensors;
  EXPECT_TRUE(at::allclose(scaled["image"], plain["image"].mul(50).pow(0.85)));
  EXPECT_TRUE(at::allclose(scaled["sum"], plain["sum"].mul(50)));
  for (const char* name : {"energy", "theta", "measured_theta"})
    EXPECT_TRUE(at::equal(scaled[name], plain[name])) << name;
}

TEST(GflashDatasetTest, ManyThreadsReadTheSame) {
  const data::DatasetPtr dataset = make_gflash_dataset(options_of(64));
  const at::Tensor expected = dataset->read(2).tensors["image"];
  std::vector<at::Tensor> images(4);
  {
    std::vector<std::jthread> readers;
    for (at::Tensor& image : images) readers.emplace_back([&] { image = dataset->read(2).tensors["image"]; });
  }
  for (const at::Tensor& image : images) EXPECT_TRUE(at::equal(image, expected));
}

TEST(GflashDatasetTest, SummaryTellsWhatItIs) {
  const auto description = [](GflashDatasetOptions options) {
    return make_gflash_dataset(options)->summary().description;
  };
  EXPECT_EQ(description({.showers = {.count = 9000}}), "9,000 GFlash electrons, 10-100 GeV, 25x25x25");
  EXPECT_EQ(description({.showers = {.particle = ShowerParticle::photon,
                                     .cells = {51, 51, 25},
                                     .lowest_energy = 0.5,
                                     .inclined = true,
                                     .count = 1000007}}),
            "1,000,007 GFlash photons, 0.5-100 GeV, 51x51x25, 60-120 degrees");
}

TEST(GflashDatasetTest, FingerprintKnowsEveryOption) {
  std::vector<std::string> seen;
  const auto add = [&seen](const GflashDatasetOptions& options) {
    seen.push_back(make_gflash_dataset(options)->summary().fingerprint);
  };
  const GflashDatasetOptions base = options_of(50);
  add(base);
  add(base);
  EXPECT_EQ(seen[0], seen[1]);
  seen.pop_back();
  GflashDatasetOptions other = base;
  const auto add_changed = [&](auto change) {
    other = base;
    change(other);
    add(other);
  };
  add_changed([](auto& o) { o.first = 0; });
  add_changed([](auto& o) { o.image_scale = 50; });
  add_changed([](auto& o) { o.image_power = 0.85; });
  add_changed([](auto& o) { o.showers.seed = 2; });
  add_changed([](auto& o) { o.showers.count = 51; });
  add_changed([](auto& o) { o.showers.inclined = true; });
  add_changed([](auto& o) { o.showers.highest_energy = 21; });
  add_changed([](auto& o) { o.showers.cells[0] = 10; });
  add_changed([](auto& o) { o.showers.particle = ShowerParticle::photon; });
  add_changed([](auto& o) { o.showers.calorimeter.cell_pitch = 5; });
  add_changed([](auto& o) { o.showers.calorimeter.active.density = 2.3; });
  for (std::size_t i = 0; i < seen.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(seen[i], seen[j]) << i << ' ' << j;
}

TEST(GflashDatasetTest, RefusesNonsense) {
  EXPECT_THROW(make_gflash_dataset(options_of(0)), ConfigError);
  GflashDatasetOptions options = options_of(10);
  options.first = -1;
  EXPECT_THROW(make_gflash_dataset(options), ConfigError);
  options = options_of(10);
  options.image_scale = 0;
  EXPECT_THROW(make_gflash_dataset(options), ConfigError);
  options = options_of(10);
  options.image_power = -1;
  EXPECT_THROW(make_gflash_dataset(options), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::simulate
