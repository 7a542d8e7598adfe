// SPDX-License-Identifier: Apache-2.0
// What an EdgeConv block needs on a GPU, measured where its operations run on the CPU as well.
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include "bunchtrain/nn/edge_conv.hpp"
#include "bunchtrain/ops/knn.hpp"
#include "edge_conv/edge_conv_operations.hpp"
#include "support/peak_allocator.hpp"

namespace bunchtrain::nn {
namespace {

class EdgeConvMemoryTest : public testing::TestWithParam<std::tuple<std::array<std::int64_t, 3>, bool>> {};

TEST_P(EdgeConvMemoryTest, PeakOfTheOperationsIsWithinATenthOfThePrediction) {
  const auto [channels, recompute] = GetParam();
  constexpr std::int64_t kSets = 32, kPoints = 64, kNeighbours = 16;
  EdgeConvBlock block(
      EdgeConvOptions{.in_channels = channels[2], .channels = channels, .recompute = recompute});
  const at::Tensor points = at::rand({kSets, kPoints, 2});
  const at::Tensor indices = ops::knn(points, std::nullopt, {.k = kNeighbours}).indices;
  const at::Tensor features = at::rand({kSets, kPoints, channels[2]}).requires_grad_();
  const Padding padding{.mask = at::ones({kSets, kPoints}, at::kBool)};
  const double measured = test::peak_bytes(
      [&] { ops::detail::mean_by_operations(block->layers(), features, indices, padding).sum().backward(); });
  const EdgeConvFootprint predicted = block->footprint(kSets * kPoints, kNeighbours, {.device = c10::kCUDA});
  EXPECT_NEAR(measured / static_cast<double>(predicted.kept + predicted.transient), 1, 0.1);
  const EdgeConvFootprint half =
      block->footprint(kSets * kPoints, kNeighbours, {.device = c10::kCUDA, .value_bytes = 2});
  EXPECT_LT(half.kept + half.transient, 0.6 * static_cast<double>(predicted.kept + predicted.transient));
  // What fused passes hold is measured where their kernels run (ops.fused_edges.host); here it is counted in.
  const EdgeConvFootprint fused =
      block->footprint(kSets * kPoints, kNeighbours, {.device = c10::kCUDA, .value_bytes = 2, .fused = true});
  const ops::FusedEdgeMemory memory = ops::fused_edge_memory(kSets * kPoints, kNeighbours, channels, 2);
  EXPECT_EQ(fused.transient, memory.backward + (recompute ? memory.edges : 0));
  EXPECT_GT(fused.kept, memory.points + (recompute ? 0 : memory.edges));
}

INSTANTIATE_TEST_SUITE_P(Blocks, EdgeConvMemoryTest,
                         testing::Combine(testing::Values(std::array<std::int64_t, 3>{32, 32, 32},
                                                          std::array<std::int64_t, 3>{16, 32, 64},
                                                          std::array<std::int64_t, 3>{64, 32, 16}),
                                          testing::Bool()));

}  // namespace
}  // namespace bunchtrain::nn
