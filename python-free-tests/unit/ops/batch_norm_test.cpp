// SPDX-License-Identifier: Apache-2.0
// What the function says of itself; nn.batch_norm compares it with LibTorch's.
#include "bunchtrain/ops/batch_norm.hpp"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::ops {
namespace {

using nn::random_normal;

BatchNormTensors make_norm(std::int64_t channels) {
  return {.weight = random_normal({channels}, 1),
          .bias = random_normal({channels}, 2),
          .running_mean = at::zeros({channels}, at::kDouble),
          .running_var = at::ones({channels}, at::kDouble),
          .num_batches_tracked = at::zeros({}, at::kLong)};
}

TEST(BatchNormFunctionTest, NormalisesRowsAndMovesTheRunningStatisticsOn) {
  const BatchNormTensors norm = make_norm(5);
  const at::Tensor x = random_normal({7, 3, 5}, 3).add(2.0), rows = x.reshape({21, 5});
  const at::Tensor mean = rows.mean(0), variance = rows.sub(mean).square().mean(0);
  const at::Tensor expected =
      x.sub(mean).mul(variance.add(norm.epsilon).rsqrt()).mul(norm.weight).add(norm.bias);
  EXPECT_TRUE(at::allclose(ops::batch_norm(x, norm), expected));
  EXPECT_TRUE(at::allclose(norm.running_mean, mean.mul(0.1)));
  EXPECT_TRUE(at::allclose(norm.running_var, variance.mul(0.1 * 21 / 20).add(0.9)));
  EXPECT_EQ(norm.num_batches_tracked.item<std::int64_t>(), 1);
  EXPECT_TRUE(at::allclose(ops::batch_norm(x, norm, std::nullopt, /*relu=*/true), at::relu(expected)));
}

TEST(BatchNormFunctionTest, LeavesTheRunningStatisticsWhereItDoesNotTrack) {
  const at::Tensor x = random_normal({20, 5}, 3), mask = random_normal({20}, 4).gt(0);
  BatchNormTensors tracking = make_norm(5), replayed = make_norm(5);
  replayed.tracks = false;
  EXPECT_TRUE(at::equal(ops::batch_norm(x, replayed, mask), ops::batch_norm(x, tracking, mask)));
  EXPECT_TRUE(at::equal(replayed.running_mean, at::zeros({5}, at::kDouble)));
  EXPECT_TRUE(at::equal(replayed.running_var, at::ones({5}, at::kDouble)));
  EXPECT_EQ(replayed.num_batches_tracked.item<std::int64_t>(), 0);
  EXPECT_EQ(tracking.num_batches_tracked.item<std::int64_t>(), 1);
}

TEST(BatchNormFunctionTest, UsesTheRunningStatisticsOutsideTraining) {
  BatchNormTensors norm = make_norm(5);
  norm.training = false;
  norm.running_mean.add_(3);
  const at::Tensor x = random_normal({20, 5}, 3);
  const at::Tensor expected = x.sub(norm.running_mean)
                                  .mul(norm.running_var.add(norm.epsilon).rsqrt())
                                  .mul(norm.weight)
                                  .add(norm.bias);
  EXPECT_TRUE(at::allclose(ops::batch_norm(x, norm), expected));
  EXPECT_EQ(norm.num_batches_tracked.item<std::int64_t>(), 0);
}

TEST(BatchNormFunctionTest, RefusesWrongArguments) {
  const BatchNormTensors norm = make_norm(5);
  EXPECT_THROW(ops::batch_norm(at::ones({4, 6}), norm), ConfigError);
  EXPECT_THROW(ops::batch_norm(at::ones({5}), norm), ConfigError);
  EXPECT_THROW(ops::batch_norm(at::ones({4, 5}, at::kInt), norm), ConfigError);
  EXPECT_THROW(ops::batch_norm(at::ones({4, 5}), norm, at::ones({3}, at::kBool)), ConfigError);
  EXPECT_THROW(ops::batch_norm(at::ones({4, 5}), norm, at::ones({4})), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::ops
