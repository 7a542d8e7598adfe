// SPDX-License-Identifier: Apache-2.0
// On a GPU gathering and edge sums give the very bits that they give on the CPU, forward and backward.
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/ops/edge_ops.hpp"
#include "bunchtrain/ops/gather_neighbours.hpp"
#include "bunchtrain/ops/index_faults.hpp"
#include "unit/ops/tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

struct Case {
  std::int64_t points, neighbours, channels;
  at::ScalarType type;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.points << " points, " << c.neighbours << " neighbours, " << c.channels << " channels, "
             << c10::toString(c.type);
}

class EdgesGpuTest : public testing::TestWithParam<Case> {
 protected:
  static constexpr std::int64_t kSets = 4;
  at::Tensor u_ = normal_tensor({kSets, GetParam().points, GetParam().channels}, 1, GetParam().type);
  at::Tensor v_ = normal_tensor({kSets, GetParam().points, GetParam().channels}, 2, GetParam().type);
  at::Tensor edges_ = normal_tensor({kSets, GetParam().points, GetParam().neighbours, GetParam().channels}, 3,
                                    GetParam().type);
  at::Tensor indices_ =
      integer_tensor({kSets, GetParam().points, GetParam().neighbours},
                     static_cast<std::uint64_t>(GetParam().points) * 3 / 4 + 1, 4, at::kInt);
};

TEST_P(EdgesGpuTest, GivesTheBitsOfTheCpu) {
  const auto cuda = indices_.cuda();
  EXPECT_TRUE(ops::gather_neighbours(v_.cuda(), cuda).cpu().equal(ops::gather_neighbours(v_, indices_)));
  EXPECT_TRUE(
      ops::scatter_neighbours(edges_.cuda(), cuda).cpu().equal(ops::scatter_neighbours(edges_, indices_)));
  EXPECT_TRUE(ops::edge_sum(u_.cuda(), v_.cuda(), cuda).cpu().equal(ops::edge_sum(u_, v_, indices_)));
}

TEST_P(EdgesGpuTest, GivesTheGradientsOfTheCpu) {
  const auto gradients = [&](at::Tensor u, at::Tensor v, const at::Tensor& indices,
                             const at::Tensor& gradient) {
    u.requires_grad_(true);
    v.requires_grad_(true);
    ops::edge_sum(u, v, indices).backward(gradient);
    return std::vector<at::Tensor>{u.grad().cpu(), v.grad().cpu()};
  };
  const auto cpu = gradients(u_.clone(), v_.clone(), indices_, edges_);
  const auto gpu = gradients(u_.cuda(), v_.cuda(), indices_.cuda(), edges_.cuda());
  EXPECT_TRUE(gpu[0].equal(cpu[0]));
  EXPECT_TRUE(gpu[1].equal(cpu[1]));
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf})
    for (const std::int64_t channels : {1, 7, 64, 256}) all.push_back({128, 16, channels, type});
  all.push_back({300, 5, 12, at::kFloat});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Shapes, EdgesGpuTest, testing::ValuesIn(cases()));

TEST(EdgesOfLargeSetsGpuTest, GiveTheBitsOfTheCpu) {
  const at::Tensor edges = normal_tensor({2, 5000, 12, 8}, 5, at::kFloat);
  const at::Tensor indices = integer_tensor({2, 5000, 12}, 4000, 6, at::kInt);
  const at::Tensor cpu = ops::scatter_neighbours(edges, indices);
  EXPECT_TRUE(ops::scatter_neighbours(edges.cuda(), indices.cuda()).cpu().equal(cpu));
}

TEST(BadIndicesGpuTest, RaiseAFlagAndReadNoForeignMemory) {
  const at::Tensor flags = ops::index_faults(at::Device(at::kCUDA, 0));
  EXPECT_NO_THROW(ops::require_no_index_faults(device::LateCopy(flags).values()));
  const at::Tensor v = normal_tensor({1, 20, 4}, 1, at::kFloat).cuda();
  at::Tensor indices = integer_tensor({1, 20, 3}, 20, 2, at::kInt);
  indices.view(-1)[7] = 1 << 30;
  EXPECT_TRUE(ops::gather_neighbours(v, indices.cuda()).view({-1, 4})[7].equal(v[0][19]));
  EXPECT_EQ(flags[0].item<int>(), 1);
  EXPECT_EQ(flags[1].item<int>(), 0);
  ops::scatter_neighbours(at::ones({1, 20, 3, 4}, v.options()), indices.cuda());
  EXPECT_EQ(flags[1].item<int>(), 1);
  EXPECT_THROW(ops::require_no_index_faults(device::LateCopy(flags).values()), ConfigError);
  flags.zero_();
}

}  // namespace
}  // namespace bunchtrain::test
