// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/comm/mesh.hpp"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <string>

#include "bunchtrain/core/error.hpp"
#include "world.hpp"

namespace bunchtrain::comm {
namespace {

class MeshTest : public testing::Test {
 protected:
  void TearDown() override { world_.close(); }
  Mesh mesh(const std::string& shape) { return {world_, MeshShape::parse(shape, world_.size())}; }
  std::int64_t sum_of_ranks(Communicator communicator) const {
    const at::Tensor sum = at::tensor({std::int64_t{world_.rank()}});
    communicator.all_reduce(sum).wait();
    return sum.item<std::int64_t>();
  }

  Communicator world_ = Communicator::create(test_world(), c10::kCPU);
};

TEST_F(MeshTest, AnAxisOfAllRanksIsTheWorld) {
  Mesh mesh(world_, MeshShape(world_.size()));
  EXPECT_EQ(mesh.axis(Axis::data).name(), world_.name());
  EXPECT_EQ(mesh.coordinate(Axis::data), world_.rank());
  EXPECT_EQ(sum_of_ranks(mesh.axis(Axis::data)), world_.size() * (world_.size() - 1) / 2);
}

TEST_F(MeshTest, AxesSumOverTheirOwnRanks) {
  Mesh both = mesh("pipeline=2");
  for (const Axis axis : {Axis::data, Axis::pipeline, Axis::tensor}) {
    Communicator part = both.axis(axis);
    EXPECT_EQ(part.size(), both.size(axis));
    EXPECT_EQ(part.rank(), both.coordinate(axis));
    std::int64_t expected = 0;
    for (const int rank : both.shape().group_of(world_.rank(), axis)) expected += rank;
    EXPECT_EQ(sum_of_ranks(part), expected) << to_string(axis);
  }
  EXPECT_EQ(both.axis(Axis::tensor).size(), 1);
  both.close();
}

TEST_F(MeshTest, RefusesAShapeOfAnotherWorld) {
  EXPECT_THROW(Mesh(world_, MeshShape(world_.size() + 1)), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::comm
