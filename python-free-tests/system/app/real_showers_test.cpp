// SPDX-License-Identifier: Apache-2.0
/// Validation on the Geant4 files: what is known of them must come out.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "bunchtrain/tasks/shower_comparison/validate_showers.hpp"

namespace bunchtrain::shower_comparison {
namespace {

std::string showers(const char* name) {
  return (std::filesystem::path(BUNCHTRAIN_TEST_DATA) / "showers" / name).string();
}

TEST(RealShowersTest, SamplingFractionAndDepthOfTheFixedAngleFile) {
  const std::string file = showers("EleEscan_fixed_10_100_000.h5");
  // Narrow bins around 20, 50 and 93 GeV.
  const auto comparison = validate_showers(
      {.reference = {file}, .candidate = {file}, .energy_edges = {18, 22, 48, 52, 91, 95}, .threads = 2});
  const auto& bins = comparison.reference.bins;
  ASSERT_EQ(bins.size(), 6U);
  const std::array<std::size_t, 3> at = {1, 3, 5};
  const std::array<double, 3> fraction = {0.0269, 0.0265, 0.0259};
  const std::array<std::ptrdiff_t, 3> deepest = {8, 10, 11};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& bin = bins[at[i]];
    EXPECT_NEAR(bin.fraction.value, fraction[i], 3 * bin.fraction.error + 5e-5) << bin.label;
    const auto& depth = bin.profile[2].contents;
    EXPECT_NEAR(static_cast<double>(std::max_element(depth.begin(), depth.end()) - depth.begin()),
                static_cast<double>(deepest[i]), 1)
        << bin.label;
  }
  EXPECT_EQ(comparison.score.total(), 0);
}

TEST(RealShowersTest, TheAnglesOfTheVariableAngleFile) {
  const std::string file = showers("Ele_VarAngleMeas_10_100_000.h5");
  const auto comparison =
      validate_showers({.reference = {file}, .candidate = {file}, .max_showers = 400, .threads = 2});
  EXPECT_EQ(comparison.score.total(), 0);
  EXPECT_NEAR(comparison.reference.bins.front().theta.value, 1.57, 0.1);
}

TEST(RealShowersTest, LayersOfDifferentGrids) {
  const std::string file = showers("calogan_eplus_51.h5");
  const auto comparison = validate_showers({.reference = {file}, .candidate = {file}, .energy_bins = 2});
  EXPECT_EQ(comparison.reference.showers, 51);
  EXPECT_EQ(comparison.reference.bins.front().profile[2].contents.size(), 3U);
  EXPECT_EQ(comparison.score.total(), 0);
}

}  // namespace
}  // namespace bunchtrain::shower_comparison
