// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/shower_observables.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "bunchtrain/core/error.hpp"
#include "gradient_check.hpp"
#include "tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

using ops::bin_counts;
using ops::ecal_angle;
using ops::ecal_sum;
using testing::ElementsAre;
using testing::HasSubstr;

/// Cells between 0.1 and 2 or so, [B, 4, 5, 6] float64.
at::Tensor random_showers(std::int64_t showers, std::uint64_t seed) {
  return normal_tensor({showers, 4, 5, 6}, seed, at::kDouble).abs() + 0.1;
}

at::Tensor empty_showers(std::int64_t showers) { return at::zeros({showers, 4, 5, 6}, at::kDouble); }

/// @param shower [X, Y, Z], or a batch of them.
void set(const at::Tensor& shower, std::int64_t x, std::int64_t y, std::int64_t z, double energy) {
  shower.select(-3, x).select(-2, y).select(-1, z).fill_(energy);
}

/// The published formula, cell by cell.
double plain_angle(const at::Tensor& shower, double power) {
  const auto cells = values<double>(shower.to(at::kDouble));
  const std::int64_t X = shower.size(0), Y = shower.size(1), Z = shower.size(2);
  std::vector<double> energy(Z), x_moment(Z), y_moment(Z);
  double total = 0, x_reference = 0, y_reference = 0, z_reference = 0;
  for (std::int64_t i = 0; i < X * Y * Z; ++i) {
    const std::int64_t z = i % Z;
    const double e = std::pow(cells[i], 1 / power);
    const double x_position = static_cast<double>(i / Z / Y) + 0.5;
    const double y_position = static_cast<double>(i / Z % Y) + 0.5;
    energy[z] += e;
    x_moment[z] += e * x_position;
    y_moment[z] += e * y_position;
    total += e;
    x_reference += e * x_position;
    y_reference += e * y_position;
    z_reference += e * (static_cast<double>(z) + 0.5);
  }
  if (total == 0) return 100;
  x_reference /= total;
  y_reference /= total;
  z_reference /= total;
  double sum = 0, weight = 0;
  for (std::int64_t i = 0; i < Z; ++i) {
    if (energy[i] == 0) continue;
    const double z = static_cast<double>(i) + 0.5;
    const double dx = x_moment[i] / energy[i] - x_reference, dz = z - z_reference;
    double slope = (y_moment[i] / energy[i] - y_reference) / std::sqrt(std::max(dx * dx + dz * dz, 1e-7));
    if (z < z_reference) slope = -slope;
    sum += z * (std::numbers::pi / 2 - std::atan(slope));
    weight += z;
  }
  return sum / weight;
}

TEST(EcalSumTest, IsTheSumOfTheEnergies) {
  const at::Tensor image = random_showers(3, 1);
  EXPECT_TRUE(ecal_sum(image).allclose(image.sum({1, 2, 3})));
  EXPECT_TRUE(ecal_sum(image.pow(0.85), 0.85).allclose(image.sum({1, 2, 3})));
  EXPECT_EQ(ecal_sum(empty_showers(1), 0.85).item<double>(), 0);
}

TEST(EcalSumTest, IsFloat32OfLowerPrecisions) {
  const at::Tensor image = random_showers(2, 1).to(at::kBFloat16);
  EXPECT_EQ(ecal_sum(image).scalar_type(), at::kFloat);
  EXPECT_EQ(ecal_angle(image).scalar_type(), at::kFloat);
  EXPECT_EQ(bin_counts(image).scalar_type(), at::kFloat);
}

TEST(EcalSumTest, GradientsInFloat64) {
  expect_gradients([](const auto& in) { return ecal_sum(in[0]); }, {random_showers(2, 2)});
  expect_gradients([](const auto& in) { return ecal_sum(in[0], 0.85); }, {random_showers(2, 2)},
                   {.step = 1e-5, .tolerance = 1e-7});
}

TEST(EcalAngleTest, EqualsThePublishedFormulaCellByCell) {
  at::Tensor image = random_showers(3, 3);
  image.select(3, 2).zero_();  // a layer without energy
  for (const double power : {1.0, 0.85}) {
    const auto angles = values<double>(ecal_angle(image, power));
    for (std::int64_t shower = 0; shower < 3; ++shower)
      EXPECT_NEAR(angles[shower], plain_angle(image[shower], power), 1e-12);
  }
}

TEST(EcalAngleTest, OfAStraightTrackIsItsAngle) {
  // One cell up in y per layer: 45 degrees from z on the far side, and so on.
  const at::Tensor image = at::zeros({2, 4, 5, 6}, at::kDouble);
  for (std::int64_t layer = 0; layer < 5; ++layer) {
    set(image[0], 2, layer, layer, 1);
    set(image[1], 2, 2, layer, 1);
  }
  const auto angles = values<double>(ecal_angle(image));
  // The middle layer holds the barycentre of the image: its slope is 0.
  const double weights = 0.5 + 1.5 + 2.5 + 3.5 + 4.5;
  EXPECT_NEAR(angles[0], std::numbers::pi / 2 - std::numbers::pi / 4 * (weights - 2.5) / weights, 1e-12);
  EXPECT_NEAR(angles[1], std::numbers::pi / 2, 1e-12);
}

TEST(EcalAngleTest, DoesNotDependOnTheUnit) {
  const at::Tensor image = random_showers(2, 4);
  for (const double unit : {1e-30, 1e-3, 50.0, 1e30}) {
    const at::Tensor scaled = (image * unit).to(at::kFloat);
    EXPECT_TRUE(ecal_angle(scaled, 0.85).to(at::kDouble).allclose(ecal_angle(image, 0.85), 1e-5, 1e-5))
        << unit;
  }
}

TEST(EcalAngleTest, GradientsInFloat64) {
  at::Tensor image = random_showers(2, 5);
  for (const double power : {1.0, 0.85})
    expect_gradients([&](const auto& in) { return ecal_angle(in[0], power); }, {image.clone()},
                     {.step = 1e-6, .tolerance = 1e-7});
}

TEST(EcalAngleTest, OfAnEmptyShowerIsAHundredWithoutGradient) {
  const at::Tensor image =
      at::cat({empty_showers(1), random_showers(2, 6), empty_showers(1)}).requires_grad_();
  const at::Tensor angle = ecal_angle(image, 0.85);
  EXPECT_EQ(angle[0].item<double>(), 100);
  EXPECT_EQ(angle[3].item<double>(), 100);
  EXPECT_LT(angle[1].item<double>(), std::numbers::pi);
  angle.sum().backward();
  EXPECT_TRUE(image.grad().isfinite().all().item<bool>());
  EXPECT_EQ(image.grad()[0].abs().max().item<double>(), 0);
  EXPECT_GT(image.grad()[1].abs().max().item<double>(), 0);
}

TEST(EcalAngleTest, LayersWithoutEnergyLeaveNoTrace) {
  at::Tensor image = random_showers(2, 7);
  image.select(3, 0).zero_();
  image.select(3, 3).zero_();
  image.requires_grad_();
  ecal_angle(image, 0.85).sum().backward();
  EXPECT_TRUE(image.grad().isfinite().all().item<bool>());
}

TEST(EcalAngleTest, IsFiniteWithALayerExactlyAtTheBarycentre) {
  const at::Tensor image = at::zeros({2, 4, 5, 6}, at::kDouble);
  for (const std::int64_t layer : {1, 2, 3}) set(image, 1, 2, layer, 1);
  set(image[1], 1, 3, 2, 0.5);  // off the axis, in the middle layer
  image.requires_grad_();
  const at::Tensor angle = ecal_angle(image);
  angle.sum().backward();
  EXPECT_TRUE(angle.isfinite().all().item<bool>());
  EXPECT_TRUE(image.grad().isfinite().all().item<bool>());
}

TEST(EcalAngleTest, OneCellAndHardlyAnyEnergyAreFinite) {
  const at::Tensor image = at::zeros({3, 4, 5, 6}, at::kFloat);
  set(image[0], 0, 0, 0, 1e-38);
  set(image[1], 3, 4, 5, 1e38);
  set(image[2], 3, 4, 5, 1);
  set(image[2], 1, 1, 1, 1e-37);
  image.requires_grad_();
  for (const double power : {1.0, 0.85}) {
    const at::Tensor angle = ecal_angle(image, power);
    EXPECT_TRUE(angle.isfinite().all().item<bool>()) << angle;
    angle.sum().backward();
    EXPECT_FALSE(image.grad().isnan().any().item<bool>()) << power;
  }
}

TEST(BinCountsTest, CountsCellsBetweenTheEdges) {
  const at::Tensor image = at::zeros({1, 4, 5, 6}, at::kDouble);
  const std::vector<double> energies = {1, 0.06, 0.04, 0.025, 0.015, 0.01, 0.005, 0.001, 0.002};
  for (std::size_t i = 0; i < energies.size(); ++i)
    image.view(-1)[static_cast<std::int64_t>(i)] = energies[i];
  const double empty = 120 - 9;
  for (const double power : {1.0, 0.85}) {
    EXPECT_THAT(values<double>(bin_counts(image.pow(power), power)), ElementsAre(2, 1, 1, 1, 1, 1, 2, empty));
  }
}

TEST(BinCountsTest, EveryCellCountsOnceEvenOnAnEdge) {
  at::Tensor image = at::zeros({1, 4, 5, 6}, at::kDouble);
  for (std::size_t i = 0; i < ops::kBinEdges.size(); ++i)
    image.view(-1)[static_cast<std::int64_t>(i)] = ops::kBinEdges[i];
  EXPECT_EQ(bin_counts(image).sum().item<double>(), 120);
  EXPECT_EQ(bin_counts(image, 1, 0.1).sum().item<double>(), 120);
}

TEST(BinCountsTest, SmoothCountsApproachTheSteps) {
  const at::Tensor image = (random_showers(2, 8) * 0.03).pow(0.85);
  const at::Tensor steps = bin_counts(image, 0.85);
  EXPECT_TRUE(bin_counts(image, 0.85, 1e-6).allclose(steps, 0, 1e-3));
  EXPECT_FALSE(bin_counts(image, 0.85, 0.3).allclose(steps, 0, 1e-3));
}

TEST(BinCountsTest, EmptyCellsStayInTheirBinWhenSmooth) {
  const auto counts = values<double>(bin_counts(empty_showers(1), 0.85, 0.5));
  for (std::size_t bin = 0; bin + 1 < counts.size(); ++bin) EXPECT_NEAR(counts[bin], 0, 1e-9);
  EXPECT_EQ(counts.back(), 120);
}

TEST(BinCountsTest, GradientsInFloat64) {
  const at::Tensor image = random_showers(2, 9) * 0.02;
  for (const double power : {1.0, 0.85}) {
    expect_gradients([&](const auto& in) { return bin_counts(in[0], power, 0.4); }, {image.clone()},
                     {.step = 1e-6, .tolerance = 1e-5});
  }
}

TEST(BinCountsTest, EmptyShowersHaveFiniteGradients) {
  const at::Tensor image = at::cat({empty_showers(1), random_showers(1, 6)}).requires_grad_();
  bin_counts(image, 0.85, 0.1).square().sum().backward();
  EXPECT_TRUE(image.grad().isfinite().all().item<bool>());
}

TEST(ShowerObservablesTest, TakeBatchesWithoutShowers) {
  const at::Tensor none = empty_showers(0);
  EXPECT_EQ(ecal_sum(none).sizes(), at::IntArrayRef({0}));
  EXPECT_EQ(ecal_angle(none).sizes(), at::IntArrayRef({0}));
  EXPECT_EQ(bin_counts(none).sizes(), at::IntArrayRef({0, 8}));
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ShowerObservablesTest, SayWhatIsWrongWithTheirArguments) {
  const at::Tensor image = random_showers(1, 1);
  EXPECT_THAT(message_of([&] { ecal_sum(image[0]); }), HasSubstr("[4, 5, 6] Double"));
  EXPECT_THAT(message_of([&] { ecal_angle(image.to(at::kLong)); }), HasSubstr("floating-point [B, X, Y, Z]"));
  EXPECT_THAT(message_of([&] { ecal_angle(image, 0); }), HasSubstr("power of a shower image"));
  EXPECT_THAT(message_of([&] { ecal_angle(image, 2); }), HasSubstr("at most 1"));
  EXPECT_THAT(message_of([&] { bin_counts(image, 1, -1); }), HasSubstr("smoothing"));
}

}  // namespace
}  // namespace bunchtrain::test
