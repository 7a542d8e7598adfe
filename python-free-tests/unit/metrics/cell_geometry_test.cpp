// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/cell_geometry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::metrics {
namespace {

using testing::ElementsAre;

TEST(CellGeometryTest, GridCountsCellsFromZero) {
  const auto grid = CellGeometry::grid({2, 3, 4});
  EXPECT_EQ(grid.size(), 24);
  EXPECT_THAT(grid.image, ElementsAre(2, 3, 4));
  const std::size_t cell = (1 * 3 + 2) * 4 + 3;  // x = 1, y = 2, z = 3
  EXPECT_EQ(grid.centre[0][cell], 1);
  EXPECT_EQ(grid.centre[1][cell], 2);
  EXPECT_EQ(grid.centre[2][cell], 3);
  EXPECT_EQ(grid.bin[1][cell], 2);
  EXPECT_THAT(grid.edges[2], ElementsAre(-0.5, 0.5, 1.5, 2.5, 3.5));
  EXPECT_EQ(grid.describe(), "grid of 2 x 3 x 4 cells");
}

TEST(CellGeometryTest, LayersShareTheFace) {
  const std::array<std::array<std::int64_t, 2>, 3> shapes = {{{3, 96}, {12, 12}, {12, 6}}};
  const auto layers = CellGeometry::layers(shapes);
  EXPECT_EQ(layers.size(), 504);
  EXPECT_TRUE(layers.image.empty());
  EXPECT_EQ(layers.bins(0), 3);
  EXPECT_EQ(layers.bins(1), 6);
  EXPECT_EQ(layers.bins(2), 3);
  EXPECT_EQ(layers.describe(), "calorimeter of 504 cells in 3 layers");
  const std::size_t cell = 288 + 7 * 12 + 4;  // layer 1, x = 7, y = 4
  EXPECT_DOUBLE_EQ(layers.centre[0][cell], 7.5 / 12);
  EXPECT_DOUBLE_EQ(layers.centre[1][cell], 4.5 / 12);
  EXPECT_EQ(layers.centre[2][cell], 1);
  EXPECT_EQ(layers.bin[0][cell], 1);
  EXPECT_EQ(layers.bin[1][cell], 2);
}

TEST(CellGeometryTest, CylinderLiesAroundTheAxis) {
  const auto cylinder = CellGeometry::cylinder(5, 8, 3);
  EXPECT_EQ(cylinder.size(), 120);
  double x = 0, y = 0;
  for (std::size_t cell = 0; cell < 120; ++cell) {
    x += cylinder.centre[0][cell];
    y += cylinder.centre[1][cell];
    const double radius = std::hypot(cylinder.centre[0][cell], cylinder.centre[1][cell]);
    EXPECT_NEAR(radius, static_cast<double>(cell % 3) + 0.5, 1e-12);
    EXPECT_EQ(cylinder.bin[2][cell], static_cast<std::int64_t>(cell / 24));
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const auto bin = static_cast<std::size_t>(cylinder.bin[axis][cell]);
      EXPECT_GE(cylinder.centre[axis][cell], cylinder.edges[axis][bin]);
      EXPECT_LE(cylinder.centre[axis][cell], cylinder.edges[axis][bin + 1]);
    }
  }
  EXPECT_NEAR(x, 0, 1e-9);
  EXPECT_NEAR(y, 0, 1e-9);
}

TEST(CellGeometryTest, RefusesNothing) {
  EXPECT_THROW(CellGeometry::grid({0, 1, 1}), ConfigError);
  EXPECT_THROW(CellGeometry::layers({}), ConfigError);
  EXPECT_THROW(CellGeometry::cylinder(1, 0, 1), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::metrics
