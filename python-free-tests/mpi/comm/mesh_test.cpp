// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/comm/mesh.hpp"

#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "world.hpp"

namespace bunchtrain::comm {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

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
  EXPECT_EQ(both.leads(Axis::data), both.coordinate(Axis::pipeline) == 0);
  EXPECT_EQ(both.leads(Axis::pipeline), both.coordinate(Axis::data) == 0);
  both.close();
}

TEST_F(MeshTest, RefusesAShapeOfAnotherWorld) {
  EXPECT_THROW(Mesh(world_, MeshShape(world_.size() + 1)), ConfigError);
}

/// Ranks that wait along different axes hear of one another: the axes have one control channel.
class MeshFaultTest : public testing::Test {
 protected:
  void TearDown() override { test_world().barrier(); }

  /// What the rank hears that waits along the axis in vain.
  std::string error_along(Axis axis) {
    try {
      mesh_.axis(axis).all_reduce(at::ones({1})).wait();
    } catch (const CommError& error) {
      return error.message();
    }
    ADD_FAILURE() << "no CommError";
    return {};
  }

  Mesh make_mesh(std::chrono::milliseconds timeout) {
    Mesh mesh(Communicator::create(test_world(), c10::kCPU, {.timeout = timeout}),
              MeshShape::parse("pipeline=2", test_world().size()));
    for (const Axis axis : {Axis::data, Axis::pipeline}) mesh.axis(axis);
    return mesh;
  }

  int rank_ = test_world().rank();
  Mesh mesh_ = make_mesh(std::chrono::minutes(5));
};

TEST_F(MeshFaultTest, AFailureAlongOneAxisEndsTheWaitingAlongAll) {
  const auto start = std::chrono::steady_clock::now();
  if (rank_ == 0) {
    mesh_.axis(Axis::pipeline).poison("the disk is full");
    EXPECT_THROW(Communicator(mesh_.world()).barrier(), CommError);
  } else {
    // Of four ranks, 3 has no axis in common with 0.
    EXPECT_THAT(error_along(rank_ == 1 ? Axis::pipeline : Axis::data),
                HasSubstr("rank 0 failed: the disk is full"));
    EXPECT_THROW(Communicator(mesh_.world()).barrier(), CommError);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_F(MeshFaultTest, ATimeoutTellsInWhichCommunicatorThePeersWait) {
  if (test_world().size() != 4) GTEST_SKIP() << "a circle needs four ranks";
  mesh_ = make_mesh(std::chrono::milliseconds(400));
  // 0 waits for 1, 1 for 3, 3 for 2, 2 for 0.
  const Axis mine = rank_ == 0 || rank_ == 3 ? Axis::pipeline : Axis::data;
  EXPECT_THAT(error_along(mine),
              AllOf(HasSubstr("No rank is silent, but they are in different operations"),
                    AnyOf(HasSubstr("in all_reduce(sum) of 1 float32 (#1) on communicator 'data'"),
                          HasSubstr("in all_reduce(sum) of 1 float32 (#1) on communicator 'pipeline'"))));
}

}  // namespace
}  // namespace bunchtrain::comm
