// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/simulate/gflash.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/shower_observables.hpp"

namespace bunchtrain::simulate {
namespace {

constexpr double kRadPerDegree = std::numbers::pi / 180;

GflashOptions small() { return {.cells = {11, 13, 25}, .lowest_energy = 5, .highest_energy = 20, .seed = 4}; }

GflashOptions small_inclined() {
  GflashOptions options = small();
  options.inclined = true;
  return options;
}

void expect_equal(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b[name])) << name;
}

TEST(GflashTest, SameShowersForAnyNumberOfThreadsAndAnyChunking) {
  for (const GflashOptions& options : {small(), small_inclined()}) {
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    const NamedTensors serial = make_gflash_showers(options, 100, 30);
    at::set_num_threads(4);
    const NamedTensors parallel = make_gflash_showers(options, 100, 30);
    at::set_num_threads(threads);
    expect_equal(serial, parallel);

    NamedTensors joined;
    const NamedTensors head = make_gflash_showers(options, 100, 7),
                       tail = make_gflash_showers(options, 107, 23);
    for (const auto& [name, tensor] : head) joined.set(name, at::cat({tensor, tail[name]}));
    expect_equal(serial, joined);
  }
}

TEST(GflashTest, SeedsDiffer) {
  GflashOptions other = small();
  other.seed = 5;
  const NamedTensors a = make_gflash_showers(small(), 0, 4), b = make_gflash_showers(other, 0, 4);
  EXPECT_FALSE(at::equal(a["image"], b["image"]));
  EXPECT_FALSE(at::equal(a["energy"], b["energy"]));
}

TEST(GflashTest, HasTheShapesAndRangesAskedFor) {
  GflashOptions options = small_inclined();
  options.cells = {7, 4, 9};
  options.lowest_theta = 70 * kRadPerDegree;
  options.highest_theta = 80 * kRadPerDegree;
  const NamedTensors showers = make_gflash_showers(options, 0, 200);
  const at::Tensor &image = showers["image"], &energy = showers["energy"], &theta = showers["theta"];
  EXPECT_EQ(image.sizes(), at::IntArrayRef({200, 7, 4, 9}));
  EXPECT_EQ(image.scalar_type(), at::kFloat);
  EXPECT_GE(image.min().item<double>(), 0);
  EXPECT_TRUE(image.isfinite().all().item<bool>());
  // Uniform between both bounds: of 200 the outermost lie within a twentieth, but for 1 case in 10^4.
  EXPECT_NEAR(energy.min().item<double>(), 5, 0.75);
  EXPECT_GE(energy.min().item<double>(), 5);
  EXPECT_NEAR(energy.max().item<double>(), 20, 0.75);
  EXPECT_LE(energy.max().item<double>(), 20);
  EXPECT_NEAR(theta.min().item<double>() / kRadPerDegree, 70, 0.5);
  EXPECT_NEAR(theta.max().item<double>() / kRadPerDegree, 80, 0.5);
  EXPECT_TRUE(at::equal(showers["measured_theta"], ops::ecal_angle(image)));
  EXPECT_EQ(make_gflash_showers(options, 5, 0)["image"].size(0), 0);
  EXPECT_FALSE(make_gflash_showers(small(), 0, 1).contains("theta"));
}

TEST(GflashTest, EnergyIsConservedWhereNothingLeaksOut) {
  GflashOptions options{.cells = {151, 151, 80}, .lowest_energy = 50, .highest_energy = 50};
  constexpr std::int64_t kShowers = 40;
  for (const ShowerParticle particle : {ShowerParticle::electron, ShowerParticle::photon}) {
    options.particle = particle;
    const at::Tensor image = make_gflash_showers(options, 0, kShowers)["image"];
    const at::Tensor deposited =
        image.sum({1, 2, 3}, false, at::kDouble).div(options.calorimeter.sampling_fraction());
    // c = 0.16 over sqrt(50 x 40 GeV); beyond 77 cm of radius lie 0.3 per mille.
    EXPECT_NEAR(deposited.mean().item<double>(), 50, 5 * 0.16 * std::sqrt(50.0 / kShowers));
    EXPECT_NEAR(deposited.std().item<double>(), 0.16 * std::sqrt(50), 0.4);
  }
}

TEST(GflashTest, SumScalesWithEnergyAndElectronResponse) {
  GflashOptions low = small(), high = small();
  low.lowest_energy = low.highest_energy = 10;
  high.lowest_energy = high.highest_energy = 40;
  const double at_10 = make_gflash_showers(low, 0, 100)["image"].sum().item<double>(),
               at_40 = make_gflash_showers(high, 0, 100)["image"].sum().item<double>();
  EXPECT_NEAR(at_40 / at_10, 4, 0.2);
  low.calorimeter.electron_response *= 2;
  EXPECT_NEAR(make_gflash_showers(low, 0, 100)["image"].sum().item<double>(), 2 * at_10, 1e-5 * at_10);
}

/// Mean depth of the energy, in layers.
double mean_layer(const GflashOptions& options) {
  const at::Tensor profile = make_gflash_showers(options, 0, 400)["image"].sum({0, 1, 2}, false, at::kDouble);
  double sum = 0, moment = 0;
  for (std::int64_t layer = 0; layer < options.cells[2]; ++layer) {
    sum += profile[layer].item<double>();
    moment += profile[layer].item<double>() * (static_cast<double>(layer) + 0.5);
  }
  return moment / sum;
}

TEST(GflashTest, PhotonsConvertDeeper) {
  GflashOptions electron{.cells = {15, 15, 60}, .lowest_energy = 20, .highest_energy = 20}, photon = electron;
  photon.particle = ShowerParticle::photon;
  const double f_s = effective_medium(electron.calorimeter).sampling_frequency;
  // Mean 9/7 X0, as much in width: 400 photons give it to 0.064 X0, profiles fluctuate by 0.8 / 20.
  EXPECT_NEAR((mean_layer(photon) - mean_layer(electron)) / f_s, 9.0 / 7, 0.25);
}

TEST(GflashTest, MaterialInFrontStartsTheShowerEarlier) {
  GflashOptions bare{.cells = {15, 15, 60}, .lowest_energy = 20, .highest_energy = 20}, behind = bare;
  behind.calorimeter.depth_before = 2;
  const double f_s = effective_medium(bare.calorimeter).sampling_frequency;
  const double shift = (mean_layer(bare) - mean_layer(behind)) / f_s;
  EXPECT_GT(shift, 1.5);  // 2 X0 but for what is lost in front
  EXPECT_LT(shift, 2.05);
}

TEST(GflashTest, AngleIsThatToY) {
  GflashOptions options{.cells = {51, 51, 25}, .lowest_energy = 60, .highest_energy = 100, .inclined = true};
  options.lowest_theta = options.highest_theta = 70 * kRadPerDegree;
  const at::Tensor image = make_gflash_showers(options, 0, 60)["image"].sum(0, false, at::kDouble);
  const auto across = [&image](int axis, std::int64_t layer) {  // barycentre in cells
    const at::Tensor cells = image.select(2, layer).sum(1 - axis);
    double sum = 0, moment = 0;
    for (std::int64_t i = 0; i < cells.size(0); ++i) {
      sum += cells[i].item<double>();
      moment += cells[i].item<double>() * static_cast<double>(i);
    }
    return moment / sum;
  };
  const double slope = (across(1, 16) - across(1, 6)) / 10;
  const double geometric =
      options.calorimeter.layer_pitch / options.calorimeter.cell_pitch / std::tan(70 * kRadPerDegree);
  EXPECT_NEAR(slope / geometric, 1, 0.06);  // the tilted plane of spots takes a few per cent
  EXPECT_NEAR(across(0, 16) - across(0, 6), 0, 0.15);
}

TEST(GflashTest, GoesThroughShallowAnglesAndOddGrids) {
  GflashOptions options = small_inclined();
  options.lowest_theta = 0.02;
  options.highest_theta = 0.1;
  EXPECT_TRUE(make_gflash_showers(options, 0, 20)["image"].isfinite().all().item<bool>());
  options = small();
  options.cells = {1, 1, 1};
  options.lowest_energy = 0.001;  // far below what the formulas are for
  EXPECT_TRUE(make_gflash_showers(options, 0, 20)["image"].isfinite().all().item<bool>());
}

/// The message of the ConfigError that `change` of valid options leads to.
template <class Change>
std::string refusal(Change change) {
  GflashOptions options = small_inclined();
  change(options);
  try {
    make_gflash_showers(options, 0, 1);
  } catch (const ConfigError& error) {
    return error.message();
  }
  return "accepted";
}

TEST(GflashTest, RefusesNonsense) {
  const auto names = [](const std::string& message, const char* field) {
    return message.find(field) != std::string::npos;
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.lowest_energy = 0; }), "lowest_energy"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.lowest_energy = -5; }), "lowest_energy"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.highest_energy = kNan; }), "highest_energy"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.lowest_energy = 21; }), "lowest_energy"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.cells[1] = 0; }), "cells"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.cells = {4096, 4096, 4096}; }), "cells"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.lowest_theta = 0; }), "lowest_theta"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.highest_theta = 3.2; }), "highest_theta"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.lowest_theta = 2.5; }), "lowest_theta"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.count = 0; }), "count"));
  EXPECT_TRUE(names(refusal([](GflashOptions& o) { o.calorimeter.cell_pitch = 0; }), "cell_pitch"));
  EXPECT_THROW(make_gflash_showers(small(), 0, -1), ConfigError);
  EXPECT_THROW(make_gflash_showers(small(), -1, 1), ConfigError);
}

TEST(GflashTest, AnglesAreNotLookedAtInNormalIncidence) {
  GflashOptions options = small();
  options.lowest_theta = -1;
  EXPECT_NO_THROW(make_gflash_showers(options, 0, 1));
}

}  // namespace
}  // namespace bunchtrain::simulate
