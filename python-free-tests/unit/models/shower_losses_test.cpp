// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/3dgan/losses.hpp"
#include "bunchtrain/ops/shower_observables.hpp"
#include "unit/ops/gradient_check.hpp"

namespace bunchtrain::models {
namespace {

at::Tensor numbers(std::initializer_list<double> values) { return at::tensor(values, at::kDouble); }

ShowerJudgement judgement() {
  return {.logit = numbers({0.3, -1}),
          .energy = numbers({0.4, 0.5}),
          .angle = numbers({1.5, 1.2}),
          .sum = numbers({2, 3}),
          .counts = at::tensor({1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1}, at::kDouble).view({2, 8})};
}

ShowerTargets targets() {
  return {.real = numbers({1, 0}),
          .energy = numbers({0.5, 0.5}),
          .angle = numbers({1, 1.3}),
          .sum = numbers({4, 2}),
          .counts = at::zeros({2, 8}, at::kDouble) + 2};
}

TEST(ShowerLossesTest, AreThoseOfKeras) {
  const ShowerLossWeights weights = ShowerLossWeights::published(ShowerVariant::variable_angle);
  const ShowerLosses losses = shower_losses(judgement(), targets(), weights);
  const double generation = (std::log1p(std::exp(-0.3)) + std::log1p(std::exp(-1))) / 2;
  EXPECT_NEAR(losses.generation.item<double>(), generation, 1e-12);
  EXPECT_NEAR(losses.energy.item<double>(), 10, 1e-12);
  EXPECT_NEAR(losses.angle.item<double>(), 0.3, 1e-12);
  EXPECT_NEAR(losses.sum.item<double>(), 50, 1e-12);
  EXPECT_NEAR(losses.counts.item<double>(), 137.5, 1e-12);
  EXPECT_NEAR(losses.total.item<double>(), 3 * generation + 0.1 * 10 + 25 * 0.3 + 0.1 * 50 + 0.1 * 137.5,
              1e-12);
}

TEST(ShowerLossesTest, LeavesOutWhatWasNotJudged) {
  ShowerJudgement fixed = judgement();
  fixed.angle = fixed.counts = at::Tensor();
  const ShowerLosses losses =
      shower_losses(fixed, targets(), ShowerLossWeights::published(ShowerVariant::fixed_angle));
  EXPECT_FALSE(losses.angle.defined());
  EXPECT_FALSE(losses.counts.defined());
  EXPECT_NEAR(losses.total.item<double>(), 6 * losses.generation.item<double>() + 0.2 * 10 + 0.1 * 50, 1e-12);
}

TEST(ShowerLossesTest, EmptyShowersLoseAHundredPercent) {
  ShowerJudgement empty = judgement();
  empty.sum = at::zeros({2}, at::kDouble);
  EXPECT_EQ(shower_losses(empty, targets(), {}).sum.item<double>(), 100);
}

TEST(ShowerLossesTest, GradientsInFloat64) {
  const auto total = [](const std::vector<at::Tensor>& in) {
    const ShowerJudgement judged{
        .logit = in[0], .energy = in[1], .angle = in[2], .sum = in[3], .counts = in[4]};
    return shower_losses(judged, targets(), {}).total.unsqueeze(0);
  };
  const ShowerJudgement point = judgement();
  const at::Tensor between = point.counts + 0.25;  // not where |x| has its corner
  const at::Tensor energy = point.energy + numbers({0, 0.1});
  test::expect_gradients(total, {point.logit, energy, point.angle, point.sum, between},
                         {.step = 1e-5, .tolerance = 1e-8});
}

TEST(ShowerLossesTest, AZeroTargetIsNotDividedBy) {
  const at::Tensor value = numbers({0.5, 0}).requires_grad_();
  const at::Tensor loss = mean_absolute_percentage_error(value, numbers({0, 0}));
  EXPECT_NEAR(loss.item<double>(), 100 * 0.5 / 1e-7 / 2, 1e-3);
  loss.backward();
  EXPECT_TRUE(value.grad().isfinite().all().item<bool>());
}

TEST(ShowerLossesTest, AnEmptyBatchGivesZerosWithAGraph) {
  const auto none = [] { return at::zeros({0}, at::kDouble).requires_grad_(); };
  const ShowerJudgement judged{.logit = none(),
                               .energy = none(),
                               .angle = none(),
                               .sum = none(),
                               .counts = at::zeros({0, 8}, at::kDouble)};
  const ShowerTargets wanted{.real = none(),
                             .energy = none(),
                             .angle = none(),
                             .sum = none(),
                             .counts = at::zeros({0, 8}, at::kDouble)};
  const ShowerLosses losses = shower_losses(judged, wanted, {});
  EXPECT_EQ(losses.total.item<double>(), 0);
  losses.total.backward();
  EXPECT_EQ(judged.logit.grad().numel(), 0);
}

TEST(ShowerLossesTest, SayWhichTargetIsMissing) {
  ShowerTargets wanted = targets();
  wanted.angle = at::Tensor();
  try {
    shower_losses(judgement(), wanted, {});
    FAIL() << "a missing angle passed";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("judges the angle as [2]; the target is missing"));
  }
  wanted.angle = numbers({1});
  EXPECT_THROW(shower_losses(judgement(), wanted, {}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::models
