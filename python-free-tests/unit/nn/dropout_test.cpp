// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/dropout.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::nn {
namespace {

at::Tensor factors(std::uint64_t seed, std::int64_t step, const std::vector<std::int64_t>& ids,
                   std::uint64_t site = 0) {
  const StepContext context(seed, step, at::tensor(ids, at::kLong));
  return Dropout(DropoutOptions{.probability = 0.3, .site = site})
      ->forward(at::ones({static_cast<std::int64_t>(ids.size()), 200}));
}

TEST(DropoutTest, DependsOnSeedStepSampleAndSiteOnly) {
  const at::Tensor batch = factors(1, 5, {10, 20, 30});
  EXPECT_TRUE(at::equal(batch, factors(1, 5, {10, 20, 30})));
  EXPECT_TRUE(at::equal(batch[1], factors(1, 5, {20})[0])) << "another batch, as on another rank";
  EXPECT_FALSE(at::equal(batch, factors(2, 5, {10, 20, 30})));
  EXPECT_FALSE(at::equal(batch, factors(1, 6, {10, 20, 30})));
  EXPECT_FALSE(at::equal(batch, factors(1, 5, {10, 20, 30}, 1)));
  EXPECT_FALSE(at::equal(batch[0], batch[1]));
}

TEST(DropoutTest, DropsTheFractionAndKeepsTheMean) {
  std::vector<std::int64_t> ids(500);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i);
  const at::Tensor values = factors(3, 0, ids);
  EXPECT_NEAR(values.eq(0).to(at::kDouble).mean().item<double>(), 0.3,
              0.005);  // 100,000 draws: one sigma is 0.0015
  EXPECT_NEAR(values.mean().item<double>(), 1.0, 0.01);
  constexpr double kRounded = 19661.0 / 65536;  // 0.3 in steps of 1/65536
  EXPECT_FLOAT_EQ(values.max().item<float>(), static_cast<float>(1 / (1 - kRounded)));
}

TEST(DropoutTest, EvaluationPassesThrough) {
  Dropout dropout(DropoutOptions{.probability = 0.5});
  dropout->eval();
  const at::Tensor x = at::ones({4, 8});
  EXPECT_TRUE(at::equal(dropout->forward(x), x));
}

TEST(DropoutTest, WithoutAContextCallsDifferAndRunsRepeat) {
  const at::Tensor x = at::ones({4, 100});
  Dropout first(DropoutOptions{.probability = 0.5}), second(DropoutOptions{.probability = 0.5});
  const at::Tensor once = first->forward(x);
  EXPECT_TRUE(at::equal(once, second->forward(x)));
  EXPECT_FALSE(at::equal(once, first->forward(x)));
}

TEST(DropoutTest, GradientIsTheFactor) {
  const StepContext context(1, 0, at::tensor({1, 2}, at::kLong));
  Dropout dropout(DropoutOptions{.probability = 0.5});
  const at::Tensor x = at::ones({2, 50}).requires_grad_();
  const at::Tensor y = dropout->forward(x);
  y.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), y.detach()));
}

TEST(DropoutTest, RefusesWrongArguments) {
  EXPECT_THROW(Dropout(DropoutOptions{.probability = 1}), ConfigError);
  EXPECT_THROW(Dropout(DropoutOptions{.probability = -0.1}), ConfigError);
  const StepContext context(1, 0, at::tensor({1, 2}, at::kLong));
  EXPECT_THROW(Dropout(DropoutOptions{})->forward(at::ones({3, 4})), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::nn
