// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/energy_response.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/memory_dataset.hpp"

namespace bunchtrain::shower_simulation {
namespace {

/// Showers with energies 10 to 100 GeV whose sums follow a known quartic.
data::DatasetPtr make_showers(std::int64_t count) {
  NamedTensors showers;
  const at::Tensor energy = at::linspace(10, 100, count, at::kFloat);
  const at::Tensor x = energy.to(at::kDouble) / 100;
  showers.set("energy", energy);
  showers.set("sum", (x * (2.7 - 0.4 * x + 0.3 * x.pow(2) - 0.2 * x.pow(3) + 0.1 * x.pow(4))).to(at::kFloat));
  return data::make_memory_dataset(std::move(showers), 16);
}

TEST(EnergyResponseTest, FindsTheQuarticOfItsShowers) {
  const auto response = EnergyResponse::fit(*make_showers(512));
  const at::Tensor energy = at::tensor({15.0, 50.0, 95.0}, at::kDouble), x = energy / 100;
  const at::Tensor expected = x * (2.7 - 0.4 * x + 0.3 * x.pow(2) - 0.2 * x.pow(3) + 0.1 * x.pow(4));
  EXPECT_TRUE(at::allclose(response.sum(energy), expected, 1e-4)) << response.sum(energy);
}

TEST(EnergyResponseTest, DrawsFromTheEnergiesItHasSeen) {
  const auto response = EnergyResponse::fit(*make_showers(512));
  const at::Tensor drawn = response.draw(at::linspace(0, 0.999, 1001, at::kFloat));
  EXPECT_NEAR(drawn.min().item<double>(), 10, 0.2);
  EXPECT_NEAR(drawn.max().item<double>(), 100, 0.5);
  EXPECT_NEAR(drawn.mean().item<double>(), 55, 0.5);
}

TEST(EnergyResponseTest, ShowersOfOneEnergyAreFittedToo) {
  NamedTensors showers;
  showers.set("energy", at::full({64}, 50.0F));
  showers.set("sum", at::full({64}, 1.3F));
  const auto response = EnergyResponse::fit(*data::make_memory_dataset(std::move(showers), 16));
  EXPECT_NEAR(response.sum(at::tensor({50.0}, at::kDouble)).item<double>(), 1.3, 1e-5);
  EXPECT_EQ(response.draw(at::tensor({0.5F})).item<float>(), 50);
}

TEST(EnergyResponseTest, ThePublishedConstants) {
  const auto response = EnergyResponse::published();
  EXPECT_EQ(response.lowest_energy(), 10);
  EXPECT_EQ(response.highest_energy(), 500);
  EXPECT_NEAR(response.sum(at::tensor({250.0}, at::kDouble)).item<double>(), 5, 1e-12);
  EXPECT_NEAR(response.draw(at::tensor({0.5F})).item<float>(), 255, 1e-3);
}

TEST(EnergyResponseTest, NoShowersAreNamed) {
  NamedTensors none;
  for (const char* name : {"energy", "sum"}) none.set(name, at::zeros({0}));
  try {
    EnergyResponse::fit(*data::make_memory_dataset(std::move(none)));
    FAIL() << "fitted to nothing";
  } catch (const DataError& error) {
    EXPECT_NE(error.message().find("no training showers to take energies from"), std::string::npos);
  }
}

}  // namespace
}  // namespace bunchtrain::shower_simulation
