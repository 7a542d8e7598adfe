// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/masked_mean.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

namespace bunchtrain::nn {
namespace {

TEST(MaskedMeanTest, AveragesRealParticlesOnly) {
  const at::Tensor features = at::tensor({1.0, 3.0, 100.0, 5.0, 7.0, 9.0}).reshape({2, 3, 1});
  const at::Tensor mask = at::tensor({1, 1, 0, 1, 1, 1}).reshape({2, 3}).to(at::kBool);
  EXPECT_TRUE(at::equal(masked_mean(features, mask), at::tensor({2.0, 7.0}).reshape({2, 1})));
}

TEST(MaskedMeanTest, AJetWithoutParticlesGivesZero) {
  const at::Tensor features = at::tensor({4.0, 5.0}).reshape({1, 2, 1});
  const at::Tensor mask = at::tensor({0, 0}).reshape({1, 2}).to(at::kBool);
  EXPECT_EQ(masked_mean(features, mask).item<double>(), 0.0);
}

}  // namespace
}  // namespace bunchtrain::nn
