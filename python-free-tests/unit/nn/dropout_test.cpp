// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/dropout.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

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

TEST(DropoutTest, ElementsAreIndependentOfTheirNeighbours) {
  const StepContext context(5, 0, at::tensor({1, 2}, at::kLong));
  constexpr std::int64_t kElements = 100'003;  // more than a thread's part, and no whole block at the end
  const at::Tensor kept =
      Dropout(DropoutOptions{.probability = 0.5})->forward(at::ones({2, kElements})).ne(0).to(at::kDouble);
  const auto covariance = [](const at::Tensor& a, const at::Tensor& b) {
    return a.sub(0.5).mul(b.sub(0.5)).mean().item<double>();
  };
  EXPECT_NEAR(covariance(kept[0], kept[1]), 0, 0.004);  // one sigma is 0.0008
  for (const std::int64_t distance : {1, 2, 3, 8, 16, 31, 32, 64, 96, 128, 129, 4096, 16384, 65536}) {
    const at::Tensor row = kept[0];
    EXPECT_NEAR(covariance(row.slice(0, 0, kElements - distance), row.slice(0, distance)), 0, 0.005)
        << "elements " << distance << " apart";
  }
}

TEST(DropoutTest, TypesDropTheSameElements) {
  const StepContext context(5, 0, at::tensor({1, 2, 3}, at::kLong));
  Dropout dropout(DropoutOptions{.probability = 0.25});
  const at::Tensor values = at::arange(1, 3 * 1001 + 1, at::kDouble).reshape({3, 7, 11, 13});
  const at::Tensor exact = dropout->forward(values);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor out = dropout->forward(values.to(type));
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_TRUE(at::equal(out.ne(0), exact.ne(0)));
    EXPECT_LT(out.to(at::kDouble).sub(exact).abs().div(values).max().item<double>(), 0.01);
  }
  EXPECT_TRUE(at::equal(
      exact.ne(0), dropout->forward(values.permute({0, 3, 1, 2}).contiguous().permute({0, 2, 3, 1})).ne(0)))
      << "strides of the input";
}

TEST(DropoutTest, NeverDropsAll) {
  const at::Tensor out = Dropout(DropoutOptions{.probability = 1 - 1e-9})->forward(at::ones({1, 1'000'000}));
  EXPECT_NEAR(out.ne(0).sum().item<double>(), 1'000'000 / 65536.0, 20);
  EXPECT_FLOAT_EQ(out.max().item<float>(), 65536);
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

TEST(DropoutTest, TheGradientHasAGradient) {
  const StepContext context(1, 0, at::tensor({1, 2}, at::kLong));
  Dropout dropout(DropoutOptions{.probability = 0.5});
  const at::Tensor x = at::ones({2, 50}).requires_grad_();
  const at::Tensor y = dropout->forward(x);
  const at::Tensor gradient = torch::autograd::grad({y.pow(3).sum()}, {x}, {}, true, true)[0];
  gradient.sum().backward();  // y = f x: the first is 3 f^3 x^2, the second 6 f^3 x
  EXPECT_TRUE(at::allclose(x.grad(), 6 * y.detach().pow(3)));
}

TEST(DropoutTest, RefusesWrongArguments) {
  EXPECT_THROW(Dropout(DropoutOptions{.probability = 1}), ConfigError);
  EXPECT_THROW(Dropout(DropoutOptions{.probability = -0.1}), ConfigError);
  const StepContext context(1, 0, at::tensor({1, 2}, at::kLong));
  EXPECT_THROW(Dropout(DropoutOptions{})->forward(at::ones({3, 4})), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::nn
