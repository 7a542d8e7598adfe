// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/calo_diffusion.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::models {
namespace {

/// Showers of some kind: most cells empty, the energy seen proportional to the primary's.
NamedTensors showers(std::int64_t count, std::array<std::int64_t, 3> cells = {6, 7, 5}) {
  torch::manual_seed(5);
  const at::Tensor energy = at::rand({count}) * 90 + 10;
  const at::Tensor raw = at::rand({count, cells[0], cells[1], cells[2]});
  const at::Tensor hits = at::where(raw > 0.6, raw, at::zeros_like(raw));
  return {{"image", hits * (energy / 1000).view({-1, 1, 1, 1})}, {"energy", energy}};
}

CaloDiffusion small_network(std::int64_t cells_x = 6) {
  CaloDiffusion network(CaloDiffusionOptions{.cells = {cells_x, 7, 5}, .channels = {8, 16}});
  const NamedTensors some = showers(64);
  network->set_normalisation(ShowerNormalisation::fit(some["image"], some["energy"]));
  return network;
}

TEST(CaloDiffusionTest, PresetsHaveTheParametersThatTheirReadmeSays) {
  EXPECT_NEAR(count_parameters(CaloDiffusionImpl(CaloDiffusionOptions::preset("tiny"))), 0.5e6, 0.15e6);
  EXPECT_NEAR(count_parameters(CaloDiffusionImpl(CaloDiffusionOptions::preset("base"))), 5e6, 1e6);
  EXPECT_NEAR(count_parameters(CaloDiffusionImpl(CaloDiffusionOptions::preset("large"))), 50e6, 10e6);
}

TEST(CaloDiffusionTest, IsBuiltAgainFromItsDescription) {
  const CaloDiffusionOptions options{
      .cells = {9, 8, 7}, .inclined = true, .channels = {8, 24}, .blocks = 2, .attention = false};
  const auto again = create_from(CaloDiffusionImpl(options).description());
  EXPECT_EQ(count_parameters(*again), count_parameters(CaloDiffusionImpl(options)));
  EXPECT_THROW(create_from(R"({"model": "calo-diffusion", "channels": [8, 12]})"), ConfigError);
  EXPECT_THROW(create_from(R"({"model": "calo-diffusion", "depth": 3})"), ConfigError);
  EXPECT_THROW(create_from(R"({"model": "calo-diffusion", "cells": [25, 25]})"), ConfigError);
  EXPECT_THROW(create_from(R"({"model": "calo-diffusion", "channels": []})"), ConfigError);
}

TEST(CaloDiffusionTest, WhatTheNetworkSeesHasMeanZeroAndWidthOneAndComesBack) {
  CaloDiffusion network = small_network();
  const NamedTensors some = showers(64);
  NamedTensors values = some;
  const nn::StepContext context(1, 0, at::arange(64));
  // Without noise the clean values are found in input and target: x = c_skip y + c_out t, y = sqrt(1 + s^2) input.
  nn::call(network->units().front(), values);
  EXPECT_EQ(values["cells_in"].sizes(), some["image"].sizes());
  EXPECT_NEAR(values["cells_in"].std().item<double>(), 1, 0.1);
  EXPECT_NEAR(values["cells_target"].std().item<double>(), 1, 0.1);
  EXPECT_NEAR(values["layers_target"].std().item<double>(), 1, 0.2);

  const ShowerNormalisation fitted = ShowerNormalisation::fit(some["image"], some["energy"]);
  const at::Tensor layers =
      ((some["image"].sum(at::IntArrayRef({1, 2})) / some["energy"].unsqueeze(1) + 1e-6).log() -
       fitted.layer_mean) /
      fitted.layer_width;
  const at::Tensor cells = (some["image"].sqrt().sqrt() - fitted.cell_mean) / fitted.cell_width;
  const at::Tensor back = network->to_gev(cells, layers, {.energy = some["energy"], .theta = {}});
  EXPECT_LE((back - some["image"]).abs().max().item<double>(), 1e-5);
}

TEST(CaloDiffusionTest, NoiseBelongsToTheSampleWhateverTheBatch) {
  CaloDiffusion network = small_network();
  const NamedTensors some = showers(8);
  const auto noised = [&](std::int64_t begin, std::int64_t end) {
    NamedTensors part;
    for (const auto& [name, tensor] : some) part.set(name, tensor.slice(0, begin, end));
    const nn::StepContext context(3, 7, at::arange(begin, end));
    return network->forward(part);
  };
  const NamedTensors whole = noised(0, 8), half = noised(3, 6);
  for (const auto& [name, tensor] : half)
    EXPECT_LE((tensor - whole[name].slice(0, 3, 6)).abs().max().item<double>(), 1e-5) << name;
}

TEST(CaloDiffusionTest, AnUntrainedNetworkSaysNothing) {
  CaloDiffusion network = small_network();
  const NamedTensors outputs = network->forward(showers(4));
  EXPECT_EQ(outputs["cells"].abs().max().item<double>(), 0);
  EXPECT_EQ(outputs["layers"].abs().max().item<double>(), 0);
}

/// For data of mean 0 and width 1 that are independent, the best answer is no answer: F = 0. The samplers then have to turn
/// noise into numbers of mean 0 and width 1.
TEST(CaloDiffusionTest, SamplersFollowTheEquation) {
  CaloDiffusion network = small_network();
  network->eval();
  const CaloDiffusionImpl::Condition condition{.energy = at::full({64}, 50.0), .theta = {}};
  const at::Tensor layers = at::randn({64, 5}), cells = at::randn({64, 6, 7, 5});
  // The same equation has a solution in closed form here: x(0) = noise * highest / sqrt(1 + highest^2).
  const double exact = 80 / std::sqrt(1 + 80.0 * 80.0);
  const at::Tensor expected = network->to_gev(cells * exact, layers * exact, condition);
  const auto off = [&](DiffusionSampler sampler, std::int64_t steps) {
    const at::Tensor made =
        sample_showers(*network, condition, layers, cells, {.sampler = sampler, .steps = steps});
    return ((made - expected).norm() / expected.norm()).item<double>();
  };
  for (const auto sampler : {DiffusionSampler::dpm, DiffusionSampler::heun}) {
    const double of_8 = off(sampler, 8), of_16 = off(sampler, 16), of_64 = off(sampler, 64);
    EXPECT_LT(of_16, of_8) << to_string(sampler);
    EXPECT_LT(of_64, of_16 / 8) << to_string(sampler) << " is of second order";
    EXPECT_LT(of_16, off(DiffusionSampler::ddim, 16)) << to_string(sampler);
  }
  EXPECT_LT(off(DiffusionSampler::dpm, 32), off(DiffusionSampler::heun, 16)) << "asked as often";
}

TEST(CaloDiffusionTest, NoLayerGetsMoreThanThePrimaryEnergy) {
  CaloDiffusion network = small_network();
  const CaloDiffusionImpl::Condition condition{.energy = at::full({3}, 50.0), .theta = {}};
  for (const double far : {10.0, 1e3, 1e30, std::numeric_limits<double>::infinity()})
    for (const double cell : {far, 0.0, -far}) {
      const at::Tensor made = network->to_gev(at::full({3, 6, 7, 5}, cell), at::full({3, 5}, far), condition);
      EXPECT_TRUE(at::isfinite(made).all().item<bool>()) << cell << ", " << far;
      EXPECT_LE(made.sum(at::IntArrayRef({1, 2})).max().item<double>(), 50 * (1 + 1e-5))
          << cell << ", " << far;
      EXPECT_GE(made.min().item<double>(), 0) << cell << ", " << far;
    }
}

/// Weights as they are after a few steps at too high a rate.
TEST(CaloDiffusionTest, AHardlyTrainedNetworkMakesFiniteShowers) {
  CaloDiffusion network = small_network();
  network->eval();
  const at::NoGradGuard no_gradients;
  torch::manual_seed(3);
  for (at::Tensor& parameter : network->parameters()) parameter.add_(at::randn(parameter.sizes()));
  const CaloDiffusionImpl::Condition condition{.energy = at::full({8}, 50.0), .theta = {}};
  for (const auto sampler : {DiffusionSampler::dpm, DiffusionSampler::ddim, DiffusionSampler::heun}) {
    const at::Tensor made = sample_showers(*network, condition, at::randn({8, 5}), at::randn({8, 6, 7, 5}),
                                           {.sampler = sampler, .steps = 2});
    EXPECT_TRUE(at::isfinite(made).all().item<bool>()) << to_string(sampler);
  }
}

TEST(CaloDiffusionTest, RefusesWhatCannotBe) {
  EXPECT_THROW(CaloDiffusionOptions::preset("huge"), ConfigError);
  EXPECT_THROW((CaloDiffusionImpl({.cells = {25, 25, 1}})), ConfigError);
  EXPECT_THROW((CaloDiffusionImpl({.blocks = 0})), ConfigError);
  EXPECT_THROW((DiffusionSamplingOptions{.steps = 0}.validate()), ConfigError);
  EXPECT_THROW((DiffusionSamplingOptions{.lowest_sigma = 3, .highest_sigma = 2}.validate()), ConfigError);
  EXPECT_THROW(parse_diffusion_sampler("euler"), ConfigError);
  CaloDiffusion network = small_network();
  EXPECT_THROW(sample_showers(*network, {}, {}, {}), ConfigError) << "in training mode";
}

}  // namespace
}  // namespace bunchtrain::models
