// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/comm/mesh_shape.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string error_of(const std::string& mesh, int world, const std::string& order = {}) {
  try {
    MeshShape::parse(mesh, world, order);
  } catch (const ConfigError& error) {
    return error.message();
  }
  return "no error";
}

TEST(MeshShapeTest, LiesAlongTheDataAxisUnlessToldOtherwise) {
  for (const MeshShape& shape : {MeshShape(6), MeshShape::parse("", 6), MeshShape::parse("data=6", 6)}) {
    EXPECT_EQ(shape.size(Axis::data), 6);
    EXPECT_EQ(shape.size(Axis::tensor), 1);
    EXPECT_EQ(shape.coordinate(4, Axis::data), 4);
    EXPECT_EQ(shape.coordinate(4, Axis::pipeline), 0);
    EXPECT_EQ(shape.to_string(), "data=6");
  }
  EXPECT_EQ(MeshShape::parse("pipeline=3", 6).size(Axis::data), 2) << "the data axis takes what is left";
  EXPECT_EQ(MeshShape(1).to_string(), "data=1");
}

TEST(MeshShapeTest, OrderInTheTextHasNoMeaning) {
  const auto shape = MeshShape::parse("data=2,pipeline=3,tensor=4", 24);
  EXPECT_EQ(shape, MeshShape::parse("tensor=4,data=2,pipeline=3", 24));
  EXPECT_EQ(shape, MeshShape::parse(shape.to_string(), 24));
}

TEST(MeshShapeTest, TensorIsFastestThenSpatialPipelineData) {
  const auto shape = MeshShape::parse("data=2,pipeline=3,spatial=2,tensor=2", 24);
  EXPECT_THAT(shape.group_of(0, Axis::tensor), ElementsAre(0, 1));
  EXPECT_THAT(shape.group_of(0, Axis::spatial), ElementsAre(0, 2));
  EXPECT_THAT(shape.group_of(0, Axis::pipeline), ElementsAre(0, 4, 8));
  EXPECT_THAT(shape.group_of(0, Axis::data), ElementsAre(0, 12));
  EXPECT_THAT(shape.group_of(23, Axis::pipeline), ElementsAre(15, 19, 23));
}

TEST(MeshShapeTest, AnotherOrderMakesAnotherAxisFastest) {
  const auto shape = MeshShape::parse("data=2,pipeline=3", 6, "data,pipeline,tensor,spatial");
  EXPECT_THAT(shape.group_of(4, Axis::data), ElementsAre(4, 5));
  EXPECT_THAT(shape.group_of(4, Axis::pipeline), ElementsAre(0, 2, 4));
}

TEST(MeshShapeTest, SlabsLieAlongOneToThreeAxes) {
  const auto shape = MeshShape::parse("spatial=2x3,data=2", 12);
  EXPECT_EQ(shape.size(Axis::spatial), 6);
  EXPECT_THAT(shape.slabs(), ElementsAre(2, 3, 1));
  EXPECT_THAT(shape.group_of(7, Axis::spatial), ElementsAre(6, 7, 8, 9, 10, 11));
  EXPECT_EQ(shape.to_string(), "data=2,spatial=2x3");
  EXPECT_EQ(MeshShape::parse("spatial=1x2", 2).to_string(), "spatial=1x2");
  EXPECT_EQ(MeshShape::parse("spatial=1x1x2", 2).to_string(), "spatial=1x1x2");
  EXPECT_THAT(MeshShape::parse("spatial=4", 4).slabs(), ElementsAre(4, 1, 1));
  EXPECT_EQ(MeshShape::parse("spatial=4x1", 4), MeshShape::parse("spatial=4", 4));
  EXPECT_FALSE(MeshShape::parse("spatial=2x2", 4) == MeshShape::parse("spatial=4", 4));
}

TEST(MeshShapeTest, EveryRankHasCoordinatesOfItsOwn) {
  const auto shape =
      MeshShape::parse("data=3,pipeline=2,spatial=5,tensor=4", 120, "spatial,data,tensor,pipeline");
  std::set<std::vector<int>> seen;
  for (int rank = 0; rank < shape.world(); ++rank) {
    std::vector<int> coordinates;
    for (const Axis axis : kAxes) {
      coordinates.push_back(shape.coordinate(rank, axis));
      const auto group = shape.group_of(rank, axis);
      EXPECT_EQ(group.at(static_cast<std::size_t>(coordinates.back())), rank);
    }
    seen.insert(coordinates);
  }
  EXPECT_EQ(seen.size(), 120U);
}

TEST(MeshShapeTest, RefusesWhatDoesNotFit) {
  EXPECT_THAT(error_of("data=4", 6), HasSubstr("6"));
  EXPECT_THAT(error_of("pipeline=4", 6), HasSubstr("product is the number of ranks, 6"));
  EXPECT_THAT(error_of("pipeline=8", 4), HasSubstr("4"));
  EXPECT_THAT(error_of("pipeline=2000000000,tensor=2000000000,spatial=2000000000", 4), HasSubstr("mesh"));
  EXPECT_THAT(error_of("spatial=2000000000x2000000000x2000000000", 4), HasSubstr("mesh"));
  EXPECT_THAT(error_of("spatial=2x2x1x1", 4), HasSubstr("slabs along x, y, z"));
  EXPECT_THAT(error_of("spatial=2x", 2), HasSubstr("slabs along x, y, z"));
  EXPECT_THAT(error_of("spatial=x2", 2), HasSubstr("AXIS=N"));
  EXPECT_THAT(error_of("spatial=0x2", 2), HasSubstr("AXIS=N"));
  EXPECT_THAT(error_of("data=2x2", 4), HasSubstr("AXIS=N"));
  EXPECT_THAT(error_of("depth=2", 2), HasSubstr("data, pipeline, tensor, spatial"));
  EXPECT_THAT(error_of("data", 2), HasSubstr("AXIS=N"));
  EXPECT_THAT(error_of("data=two", 2), HasSubstr("AXIS=N"));
  EXPECT_THAT(error_of("data=0", 2), HasSubstr("AXIS=N"));
  EXPECT_THAT(error_of("data=-2", 2), HasSubstr("AXIS=N"));
  EXPECT_THAT(error_of("data=2,data=2", 4), HasSubstr("at most once"));
  EXPECT_THAT(error_of("data=2", 2, "data,tensor"), HasSubstr("each of"));
  EXPECT_THAT(error_of("data=2", 2, "data,data,tensor,spatial"), HasSubstr("once"));
}

}  // namespace
}  // namespace bunchtrain::comm
