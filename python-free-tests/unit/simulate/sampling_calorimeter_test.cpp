// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/simulate/sampling_calorimeter.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::simulate {
namespace {

TEST(SamplingCalorimeterTest, DefaultIsTheTungstenSiliconOfTheLcdFiles) {
  const SamplingCalorimeter calorimeter;
  EXPECT_DOUBLE_EQ(calorimeter.absorber_thickness + calorimeter.active_thickness, 2.9);
  // The reference values are rounded, from constants that differ in the fourth digit.
  const EffectiveMedium medium = effective_medium(calorimeter);
  EXPECT_NEAR(medium.radiation_length, 0.420, 0.0005);
  EXPECT_NEAR(medium.critical_energy, 8.22, 0.01);
  EXPECT_NEAR(medium.sampling_frequency, 1.448, 0.001);
  EXPECT_NEAR(medium.e_over_mip, 0.704, 0.0005);
  EXPECT_NEAR(medium.moliere_radius, 1.083, 0.0005);
}

TEST(SamplingCalorimeterTest, OneMaterialTwiceIsThatMaterial) {
  SamplingCalorimeter calorimeter;
  calorimeter.active = calorimeter.absorber;
  const EffectiveMedium medium = effective_medium(calorimeter);
  const Material tungsten = Material::tungsten();
  EXPECT_NEAR(medium.z, 74, 1e-12);
  EXPECT_NEAR(medium.radiation_length, tungsten.radiation_length, 1e-12);
  EXPECT_NEAR(medium.critical_energy, tungsten.critical_energy(), 1e-12);
  EXPECT_NEAR(medium.moliere_radius, tungsten.radiation_length * 21.2 / tungsten.critical_energy(), 1e-12);
  EXPECT_EQ(medium.e_over_mip, 1);
  calorimeter.electron_response = 1;
  EXPECT_NEAR(calorimeter.sampling_fraction(), 0.5 / 2.9, 1e-12);
}

TEST(SamplingCalorimeterTest, CriticalEnergiesAreRossisWithinTheFit) {
  EXPECT_NEAR(Material::tungsten().critical_energy(), 7.97, 0.1);  // PDG, solids
  EXPECT_NEAR(Material::silicon().critical_energy(), 40.2, 4);
}

template <class Change>
void expect_refused(Change change) {
  SamplingCalorimeter calorimeter;
  change(calorimeter);
  EXPECT_THROW(calorimeter.validate(), ConfigError);
}

TEST(SamplingCalorimeterTest, RefusesNonsense) {
  EXPECT_NO_THROW(SamplingCalorimeter().validate());
  expect_refused([](SamplingCalorimeter& c) { c.absorber_thickness = 0; });
  expect_refused([](SamplingCalorimeter& c) { c.active_thickness = -1; });
  expect_refused([](SamplingCalorimeter& c) { c.layer_pitch = 2.8; });  // thinner than its layers
  expect_refused([](SamplingCalorimeter& c) { c.cell_pitch = 0; });
  expect_refused([](SamplingCalorimeter& c) { c.sampling_resolution = 0; });
  expect_refused([](SamplingCalorimeter& c) { c.electron_response = -0.5; });
  expect_refused([](SamplingCalorimeter& c) { c.depth_before = -1; });
  expect_refused([](SamplingCalorimeter& c) { c.cell_pitch = std::numeric_limits<double>::quiet_NaN(); });
  expect_refused([](SamplingCalorimeter& c) { c.active.density = 0; });
}

}  // namespace
}  // namespace bunchtrain::simulate
