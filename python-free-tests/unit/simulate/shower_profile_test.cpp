// SPDX-License-Identifier: Apache-2.0
#include "shower_profile.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace bunchtrain::simulate {
namespace {

const ShowerProfiles& profiles() {
  static const ShowerProfiles formulas{SamplingCalorimeter{}};
  return formulas;
}

TEST(ShowerProfileTest, FluctuatesAsThePaperSays) {
  constexpr int kDraws = 20'000;
  constexpr double kEnergy = 50;
  RandomSequence random(CounterRandom(3, 1));
  double t = 0, a = 0, tt = 0, aa = 0, ta = 0;
  for (int i = 0; i < kDraws; ++i) {
    const LongitudinalProfile profile = profiles().draw(kEnergy, random);
    const double ln_t = std::log(profile.maximum), ln_a = std::log(profile.alpha);
    t += ln_t / kDraws, a += ln_a / kDraws;
    tt += ln_t * ln_t / kDraws, aa += ln_a * ln_a / kDraws, ta += ln_t * ln_a / kDraws;
  }
  // y = 50 GeV / 8.22 MeV, ln y = 8.713; docs/simulate.md, formulas 2 to 4, with F_S = 1.448, e-hat = 0.704,
  // Z = 72.5, by hand.
  const double sigma_t = std::sqrt(tt - t * t), sigma_a = std::sqrt(aa - a * a);
  EXPECT_NEAR(std::exp(t), 7.317, 0.02);
  EXPECT_NEAR(std::exp(a), 4.743, 0.03);
  EXPECT_NEAR(sigma_t, 1 / 8.391, 0.003);
  EXPECT_NEAR(sigma_a, 1 / 6.063, 0.004);
  EXPECT_NEAR((ta - t * a) / (sigma_t * sigma_a), 0.784 - 0.023 * 8.713, 0.02);
}

TEST(ShowerProfileTest, FractionsGrowFromNoneToAllWithSpotsLater) {
  RandomSequence random(CounterRandom(3, 2));
  const LongitudinalProfile profile = profiles().draw(20, random);
  EXPECT_EQ(profile.energy_before(0), 0);
  EXPECT_EQ(profile.energy_before(-1), 0);
  double before = 0;
  for (int t = 1; t < 40; ++t) {
    EXPECT_GT(profile.energy_before(t), before);
    before = profile.energy_before(t);
  }
  EXPECT_NEAR(before, 1, 1e-3);
  EXPECT_NEAR(profile.spots, 10.3 / 0.16 * std::pow(20, 0.959), 1e-9);
}

TEST(ShowerProfileTest, MeanShowerHasItsMaximumAtRelativeDepthOne) {
  LongitudinalProfile profile{};
  profile.maximum = 6;
  profile.alpha = profile.mean_alpha = 4;
  EXPECT_NEAR(profile.relative_depth(6), 1, 1e-12);
  EXPECT_NEAR(profile.relative_depth(3), 0.5, 1e-12);
}

TEST(ShowerProfileTest, WidensWithDepth) {
  double radius = 0;
  for (const double tau : {0.2, 0.6, 1.0, 1.5, 2.0, 2.5}) {
    const RadialProfile radial = profiles().radial(50, tau);
    EXPECT_GT(radial.tail, radial.core);
    EXPECT_GE(radial.core_weight, 0);
    EXPECT_LE(radial.core_weight, 1);
    // Median of the mixture, by bisection of its integral r^2 / (r^2 + R^2).
    double low = 0, high = 10;
    for (int i = 0; i < 60; ++i) {
      const double r2 = (low + high) * (low + high) / 4;
      const double inside = radial.core_weight * r2 / (r2 + radial.core * radial.core) +
                            (1 - radial.core_weight) * r2 / (r2 + radial.tail * radial.tail);
      (inside < 0.5 ? low : high) = (low + high) / 2;
    }
    EXPECT_GT(low, radius) << tau;
    radius = low;
  }
}

TEST(ShowerProfileTest, StaysFiniteFarOutsideItsRange) {
  RandomSequence random(CounterRandom(3, 4));
  for (const double energy : {1e-4, 0.01, 0.1, 1e5}) {
    const LongitudinalProfile profile = profiles().draw(energy, random);
    EXPECT_GE(profile.maximum, 1);
    EXPECT_GE(profile.alpha, 1.1);
    EXPECT_TRUE(std::isfinite(profile.energy_before(3)));
    const RadialProfile radial = profiles().radial(energy, 3);
    EXPECT_GT(radial.core, 0);
    EXPECT_GT(radial.tail, 0);
  }
}

}  // namespace
}  // namespace bunchtrain::simulate
