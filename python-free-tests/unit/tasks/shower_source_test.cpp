// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"

#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/tasks/jet_tagging/score.hpp"
#include "bunchtrain/tasks/shower_simulation/generate_showers.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::shower_simulation {
namespace {

class ShowerSourceTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  /// An untrained generator's weights in a file.
  std::string save(models::ShowerVariant variant) const {
    const models::ShowerGenerator generator(models::ShowerGeneratorOptions{.variant = variant});
    const auto path = (folder_ / "generator.safetensors").string();
    weights::save_module(path, *generator);
    return path;
  }
  const std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) / "shower_source_test";
  const at::Tensor numbers_ = at::tensor({3, 9, 4}, at::kLong);
  const at::Tensor energy_ = at::tensor({20.0F, 50.0F, 90.0F});
};

TEST_F(ShowerSourceTest, AShowerDependsOnItsNumberAndLabelsAlone) {
  ShowerSource source = ShowerSource::open(save(models::ShowerVariant::fixed_angle), {.seed = 5});
  const at::Tensor together = source.make(numbers_, energy_);
  EXPECT_EQ(together.sizes(), at::IntArrayRef({3, 25, 25, 25}));
  const at::Tensor alone = source.make(at::tensor({9}, at::kLong), at::tensor({50.0F}));
  EXPECT_LT((alone[0] - together[1]).abs().max().item<double>(), 1e-3 * together[1].max().item<double>());
  ShowerSource other = ShowerSource::open(save(models::ShowerVariant::fixed_angle), {.seed = 6});
  EXPECT_FALSE(other.make(numbers_, energy_).equal(together));
}

TEST_F(ShowerSourceTest, TheFileTellsTheVariant) {
  ShowerSource source = ShowerSource::open(save(models::ShowerVariant::variable_angle));
  EXPECT_TRUE(source.needs_theta());
  const at::Tensor made = source.make(numbers_, energy_, at::tensor({1.2F, 1.5F, 1.8F}));
  EXPECT_EQ(made.sizes(), at::IntArrayRef({3, 51, 51, 25}));
  EXPECT_GE(made.min().item<float>(), 0);
}

TEST_F(ShowerSourceTest, ABundleMakesTheShowersOfItsWeights) {
  const models::ShowerGenerator generator(
      models::ShowerGeneratorOptions{.variant = models::ShowerVariant::fixed_angle});
  weights::Bundle bundle{.weights = weights::named_state(*generator),
                         .model = generator->description(),
                         .metadata = {{"trained energies", "10 to 100 GeV"}}};
  const auto path = (folder_ / "bundle").string();
  weights::write_bundle(path, bundle);
  ShowerSource source = ShowerSource::open(path, {.seed = 5});
  ASSERT_TRUE(source.trained_energies().has_value());
  EXPECT_EQ(source.trained_energies()->highest, 100);
  ShowerSource of_file = ShowerSource::open(save(models::ShowerVariant::fixed_angle), {.seed = 5});
  EXPECT_TRUE(source.make(numbers_, energy_).equal(of_file.make(numbers_, energy_)));

  try {
    jet_tagging::score({.bundle = path, .data = {"jets.h5"}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("it scores no files"), std::string::npos) << error.message();
  }

  struct Refusal {
    const char *model, *part;
  };
  for (const auto& [model, part] :
       {Refusal{R"({"model": "particlenet"})", "its model is particlenet"},
        Refusal{"", "its model is not named"}, Refusal{"3dgan-angle", "belongs to another model"},
        Refusal{R"({"model": "3dgan-generator", "variant": "angle"})", "belongs to another model"},
        Refusal{R"({"model": "3dgan-generator", "depth": 3})", "has no field 'depth'"}}) {
    bundle.model = model;
    weights::write_bundle(path, bundle);
    try {
      ShowerSource::open(path);
      ADD_FAILURE() << model;
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
    }
  }
  bundle.model = "3dgan-fixed";
  weights::write_bundle(path, bundle);
  EXPECT_FALSE(ShowerSource::open(path).needs_theta()) << "as version 0.1 wrote it";
}

TEST_F(ShowerSourceTest, WhatIsNoGeneratorIsRefused) {
  EXPECT_THROW(ShowerSource::open((folder_ / "none").string()), ConfigError);
  const auto foreign = folder_ / "foreign.safetensors";
  weights::write_safetensors(foreign, {});
  try {
    ShowerSource::open(foreign.string());
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_NE(error.message().find("no 3DGAN generator"), std::string::npos) << error.message();
  }
  EXPECT_THROW(ShowerSource::open(folder_.string()), ConfigError);  // a folder without a run
}

/// Weights that are finite themselves may still make cells that are not.
TEST_F(ShowerSourceTest, ShowersThatAreNotFiniteAreNotWritten) {
  for (const double factor : {std::numeric_limits<double>::quiet_NaN(), 1e30}) {
    models::ShowerGenerator generator(
        models::ShowerGeneratorOptions{.variant = models::ShowerVariant::fixed_angle});
    {
      const at::NoGradGuard no_gradients;
      for (at::Tensor& parameter : generator->parameters()) parameter.mul_(factor);
    }
    generator->eval();
    ShowerSource source(generator);
    const auto path = folder_ / "showers.h5";
    try {
      generate_showers(path, source, {.count = 5, .batch = 2});
      ADD_FAILURE() << "written for a factor of " << factor;
    } catch (const CheckpointError& error) {
      EXPECT_NE(error.message().find("NaN or infinite"), std::string::npos) << error.message();
      EXPECT_NE(error.message().find("shower 0"), std::string::npos) << error.message();
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
  }
}

TEST_F(ShowerSourceTest, FilesHoldAsManyShowersAsAskedForAndReadBack) {
  ShowerSource source = ShowerSource::open(save(models::ShowerVariant::fixed_angle));
  const auto path = folder_ / "showers.h5";
  std::int64_t told = 0;
  generate_showers(path, source, {.count = 21, .lowest_energy = 30, .highest_energy = 40, .batch = 8},
                   [&](std::int64_t showers) { told = showers; });
  EXPECT_EQ(told, 21);
  features::ShowerCard card = features::load_shower_card("lcd_fixed");
  card.ratio = {0, 1e9};  // an untrained network knows no energies
  const data::ShowerDataset showers({.files = {path.string()}}, card);
  EXPECT_EQ(showers.size(), 21);
  EXPECT_GE(showers.lowest_energy(), 30);
  EXPECT_LE(showers.highest_energy(), 40);
}

TEST_F(ShowerSourceTest, NoFileIsLeftWhereWritingFails) {
  ShowerSource source = ShowerSource::open(save(models::ShowerVariant::fixed_angle));
  const auto path = folder_ / "no such folder" / "showers.h5";
  EXPECT_THROW(generate_showers(path, source, {.count = 3}), DataError);
  EXPECT_THROW(generate_showers(path, source, {.count = 0}), ConfigError);
  EXPECT_THROW(generate_showers(path, source, {.count = 3, .lowest_energy = 50, .highest_energy = 20}),
               ConfigError);
  EXPECT_THROW(generate_showers(path, source, {.count = 3, .highest_theta = 4}), ConfigError);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace bunchtrain::shower_simulation
