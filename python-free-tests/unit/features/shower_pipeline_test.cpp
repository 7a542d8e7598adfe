// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/shower_pipeline.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace bunchtrain::features {
namespace {

ShowerCard small_card() {
  return parse_shower_card(R"toml(card = 1
[shower]
cells = [{ from = "ECAL", shape = [3, 3, 5] }]
unit = "MeV"
scale = 2
threshold = 0.01
minimum_sum = 0.5
[primary]
energy = { from = "energy", unit = "MeV" }
theta = { from = "theta", unit = "deg" }
[image]
scale = 10
power = 0.85
)toml",
                           "small");
}

// In the file 2000 is 1 GeV; the threshold is 20.
std::vector<float> cells_with(std::initializer_list<std::pair<std::size_t, float>> values) {
  std::vector<float> cells(45, 0.0f);
  for (const auto& [at, value] : values) cells[at] = value;
  return cells;
}

TEST(ShowerPipelineTest, SumsWhatIsNotBelowTheThreshold) {
  const ShowerPipeline pipeline(small_card());
  const auto scan = pipeline.scan(cells_with({{0, 2000}, {17, 20}, {40, 19.9f}, {44, 1000}}));
  EXPECT_TRUE(scan.is_sound());
  EXPECT_NEAR(scan.sum, 1.51, 1e-6);
  EXPECT_TRUE(pipeline.keeps(scan.sum));
  EXPECT_FALSE(pipeline.keeps(0.5));
}

TEST(ShowerPipelineTest, CountsWhatIsWrongWithCells) {
  const ShowerPipeline pipeline(small_card());
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInfinity = std::numeric_limits<float>::infinity();
  for (const std::size_t at : {std::size_t{0}, std::size_t{20}, std::size_t{44}}) {
    EXPECT_EQ(pipeline.scan(cells_with({{at, -1e-30f}})).negative, 1);
    EXPECT_EQ(pipeline.scan(cells_with({{at, kNan}})).not_finite, 1);
    EXPECT_EQ(pipeline.scan(cells_with({{at, -kNan}})).not_finite, 1);
    EXPECT_EQ(pipeline.scan(cells_with({{at, kInfinity}})).not_finite, 1);
    EXPECT_EQ(pipeline.scan(cells_with({{at, -kInfinity}})).not_finite, 1);
    EXPECT_TRUE(pipeline.scan(cells_with({{at, -0.0f}})).is_sound());
    EXPECT_TRUE(pipeline.scan(cells_with({{at, std::numeric_limits<float>::max()}})).is_sound());
    EXPECT_TRUE(pipeline.scan(cells_with({{at, std::numeric_limits<float>::denorm_min()}})).is_sound());
  }
}

TEST(ShowerPipelineTest, ImagesAreScaledAndRaisedToThePower) {
  const auto cells = cells_with({{0, 2000}, {17, 20}, {40, 19.9f}, {44, 1000}});
  std::vector<float> image(cells.size(), -1.0f);
  ShowerPipeline(small_card()).make_image(cells, image.data());
  std::vector<float> gev(cells.size(), -1.0f);
  ShowerPipeline(small_card(), true).make_image(cells, gev.data());
  for (std::size_t at = 0; at < cells.size(); ++at) {
    const float energy = cells[at] < 20 ? 0 : cells[at] / 2000;
    EXPECT_FLOAT_EQ(gev[at], energy) << at;
    EXPECT_FLOAT_EQ(image[at], static_cast<float>(std::pow(energy * 10.0, 0.85))) << at;
  }
}

TEST(ShowerPipelineTest, UnitsBecomeGevAndRad) {
  const ShowerPipeline pipeline(small_card());
  EXPECT_DOUBLE_EQ(pipeline.energy_factor(), 1e-3);
  EXPECT_NEAR(pipeline.theta_factor(), std::acos(-1.0) / 180, 1e-15);
  EXPECT_DOUBLE_EQ(pipeline.image_sum(1.5), 15);
  EXPECT_DOUBLE_EQ(ShowerPipeline(small_card(), true).image_sum(1.5), 1.5);
}

TEST(ShowerPipelineTest, MeasuresTheAngleOfAStraightAxis) {
  // The middle column along z, then one that moves by a cell in y per layer: pi/2 and pi/2 - pi/4.
  std::vector<float> cells(90, 0.0f);
  for (std::size_t z = 0; z < 5; ++z) cells[(1 * 3 + 1) * 5 + z] = 2000;
  for (std::size_t z = 1; z < 4; ++z) cells[45 + (1 * 3 + (z - 1)) * 5 + z] = 2000;
  const auto angles = ShowerPipeline(small_card()).measure_angles(cells);
  ASSERT_EQ(angles.size(), 2u);
  EXPECT_NEAR(angles[0], std::acos(-1.0) / 2, 1e-5);
  EXPECT_LT(angles[1], angles[0] - 0.3);
}

}  // namespace
}  // namespace bunchtrain::features
