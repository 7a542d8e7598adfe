// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/optimizer.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/gradient_norm.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

using testing::HasSubstr;

class OptimizerTest : public testing::Test {
 protected:
  void give_gradients(int step = 1) {
    for (auto& arena : arenas_) {
      arena.begin_pass();
      arena.zero_gradients();
    }
    backward(parameters_, step);
  }
  /// Norm of the gradients as a user would compute it.
  double norm() const {
    double sum = 0;
    for (const auto& parameter : parameters_) sum += parameter.grad().square().sum().item<double>();
    return std::sqrt(sum);
  }

  std::vector<at::Tensor> parameters_ = make_parameters();
  std::vector<at::Tensor> before_ = copies_of(parameters_);
  tensor::ParameterArenas arenas_ = arenas_of(parameters_);
};

TEST_F(OptimizerTest, WritesTheNumbersOfAStepOnce) {
  AdamW adamw(arenas_, {.learning_rate = 0.1});
  adamw.set_groups({{.pattern = "p1", .learning_rate_factor = 0.5}, {.pattern = "p2", .weight_decay = 0.0}});
  EXPECT_EQ(adamw.uploads(), 0);
  for (int step = 1; step <= 3; ++step) {
    give_gradients(step);
    adamw.set_learning_rate(0.1 / step);
    adamw.step({.clip_norm = 1, .check_finite = true});
    EXPECT_EQ(adamw.uploads(), step);
  }
}

TEST_F(OptimizerTest, ClipsTheGlobalNorm) {
  Sgd sgd(arenas_, {.learning_rate = 0.1});
  give_gradients();
  const double before = norm();
  ASSERT_GT(before, 1);
  const StepReport report = sgd.step({.clip_norm = 1});
  EXPECT_NEAR(report.gradient_norm(), before, 1e-12 * before);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor expected = before_[i] - 0.1 / before * parameters_[i].grad();
    EXPECT_LE((parameters_[i] - expected).abs().max().item<double>(), 1e-14);
  }
}

TEST_F(OptimizerTest, SmallGradientsAreNotClipped) {
  Sgd sgd(arenas_, {.learning_rate = 0.1});
  give_gradients();
  sgd.step({.clip_norm = 1e6});
  EXPECT_LE((parameters_[0] - (before_[0] - 0.1 * parameters_[0].grad())).abs().max().item<double>(), 1e-15);
}

TEST_F(OptimizerTest, GradientScaleComesBeforeClipping) {
  Sgd sgd(arenas_, {.learning_rate = 0.1});
  give_gradients();
  const StepReport report = sgd.step({.gradient_scale = 0.5, .check_finite = true});
  EXPECT_NEAR(report.gradient_norm(), 0.5 * norm(), 1e-12 * norm());
  EXPECT_LE((parameters_[0] - (before_[0] - 0.05 * parameters_[0].grad())).abs().max().item<double>(), 1e-15);
}

TEST_F(OptimizerTest, TheNormOfAllGradientsIsOneCall) {
  EXPECT_EQ(gradient_norm({}).item<double>(), 0);
  give_gradients();
  EXPECT_NEAR(gradient_norm(arenas_).item<double>(), norm(), 1e-12 * norm());
  EXPECT_EQ(gradient_norm(arenas_).scalar_type(), at::kDouble);
  Sgd sgd(arenas_, {.learning_rate = 0});
  EXPECT_EQ(sgd.step({.clip_norm = 1}).gradient_norm(), gradient_norm(arenas_).item<double>());
}

TEST_F(OptimizerTest, ANormGivenByHandIsClippedWithAndChecked) {
  Sgd sgd(arenas_, {.learning_rate = 0.1});
  give_gradients();
  const at::Tensor norm = at::full({}, 50.0, at::kDouble);
  EXPECT_EQ(sgd.step({.clip_norm = 5, .gradient_scale = 0.5, .gradient_norm = norm}).gradient_norm(), 25);
  EXPECT_LE((parameters_[0] - (before_[0] - 0.01 * parameters_[0].grad())).abs().max().item<double>(), 1e-15);
  const at::Tensor now = parameters_[0].detach().clone();
  const at::Tensor lost = at::full({}, std::nan(""), at::kDouble);
  EXPECT_FALSE(sgd.step({.check_finite = true, .gradient_norm = lost}).applied());
  EXPECT_TRUE(parameters_[0].equal(now));
  EXPECT_EQ(sgd.steps(), 1);
}

TEST_F(OptimizerTest, ANormOfAnotherKindIsRefused) {
  Sgd sgd(arenas_);
  for (const at::Tensor& wrong : {at::ones({}, at::kFloat), at::ones({2}, at::kDouble)}) {
    try {
      sgd.step({.gradient_norm = wrong});
      FAIL() << "no error";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(),
                  testing::AllOf(HasSubstr("gradient_norm"), HasSubstr("a float64 scalar on cpu")));
    }
  }
}

TEST_F(OptimizerTest, NonFiniteGradientSkipsTheStep) {
  AdamW adamw(arenas_);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    give_gradients();
    parameters_[3].mutable_grad().view({-1})[17] = bad;
    EXPECT_FALSE(adamw.step({.check_finite = true}).applied());
    EXPECT_TRUE(parameters_[0].equal(before_[0]));
    EXPECT_EQ(adamw.steps(), 0);
  }
  give_gradients();
  EXPECT_TRUE(adamw.step({.check_finite = true}).applied());
  EXPECT_EQ(adamw.steps(), 1);
}

/// Nobody has to hear of it before the next step.
TEST_F(OptimizerTest, AStepThatIsLeftOutMayCountAsOne) {
  AdamW adamw(arenas_);
  give_gradients();
  parameters_[3].mutable_grad().view({-1})[17] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(adamw.step({.check_finite = true, .counts_left_out = true}).applied());
  EXPECT_TRUE(parameters_[0].equal(before_[0]));
  EXPECT_EQ(adamw.steps(), 1);
}

TEST_F(OptimizerTest, FrozenParametersAreLeftAlone) {
  parameters_[1].set_requires_grad(false);
  AdamW adamw(arenas_, {.learning_rate = 0.1, .weight_decay = 0.5});
  give_gradients();
  adamw.step();
  EXPECT_TRUE(parameters_[1].equal(before_[1]));
  EXPECT_FALSE(parameters_[0].equal(before_[0]));
  EXPECT_FALSE(parameters_[2].equal(before_[2]));
}

TEST_F(OptimizerTest, UnusedParameterIsSteppedWithAZeroGradient) {
  AdamW adamw(arenas_, {.learning_rate = 0.1, .weight_decay = 0.5});
  for (auto& arena : arenas_) arena.begin_pass();
  parameters_[0].sum().backward();
  adamw.step();
  EXPECT_LE((parameters_[1] - before_[1] * (1 - 0.05)).abs().max().item<double>(), 1e-15);
}

TEST_F(OptimizerTest, GroupsChooseByName) {
  Sgd sgd(arenas_, {.learning_rate = 0.1, .weight_decay = 0.5});
  sgd.set_groups({{.pattern = "p1", .weight_decay = 0.0}, {.pattern = "p[12]", .learning_rate_factor = 0}});
  give_gradients();
  sgd.step();
  const auto expected = [&](std::size_t i, double decay) {
    return before_[i] - 0.1 * (parameters_[i].grad() + decay * before_[i]);
  };
  EXPECT_LE((parameters_[0] - expected(0, 0.5)).abs().max().item<double>(), 1e-15);
  EXPECT_LE((parameters_[1] - expected(1, 0.0)).abs().max().item<double>(), 1e-15);
  EXPECT_TRUE(parameters_[2].equal(before_[2]));
  EXPECT_LE((parameters_[3] - expected(3, 0.5)).abs().max().item<double>(), 1e-15);
}

TEST_F(OptimizerTest, GroupThatMatchesNothingIsNamed) {
  Sgd sgd(arenas_);
  try {
    sgd.set_groups({{.pattern = "*.bias"}});
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("*.bias"), HasSubstr("p0, p1, p2, p3")));
  }
}

TEST_F(OptimizerTest, PaddingStaysZero) {
  AdamW adamw(arenas_, {.weight_decay = 0.5});
  for (int step = 1; step < 4; ++step) {
    give_gradients(step);
    adamw.step({.clip_norm = 1});
  }
  double inside = 0;
  for (const auto& parameter : parameters_) inside += parameter.abs().sum().item<double>();
  EXPECT_NEAR(arenas_[0].values().abs().sum().item<double>(), inside, 1e-12);
}

TEST_F(OptimizerTest, UpdatesBumpVersions) {
  Sgd sgd(arenas_);
  give_gradients();
  const at::Tensor stale = parameters_[0].square().sum();
  sgd.step();
  EXPECT_THROW(stale.backward(), c10::Error);
}

TEST_F(OptimizerTest, RestoredStateContinuesToTheBit) {
  AdamW adamw(arenas_, {.learning_rate = 0.05});
  give_gradients(1);
  adamw.step();

  auto restored = copies_of(parameters_);
  auto restored_arenas = arenas_of(restored);
  AdamW other(restored_arenas);
  other.load(adamw.state());
  EXPECT_EQ(other.steps(), 1);
  EXPECT_EQ(other.learning_rate(), 0.05);
  give_gradients(2);
  adamw.step();
  for (auto& arena : restored_arenas) arena.begin_pass();
  backward(restored, 2);
  other.step();
  for (std::size_t i = 0; i < parameters_.size(); ++i) EXPECT_TRUE(parameters_[i].equal(restored[i]));
}

TEST_F(OptimizerTest, ForeignStateIsRefusedAndNothingChanges) {
  AdamW adamw(arenas_);
  StateDict state = adamw.state();
  state.tensors.set("exp_avg_sq.p2", at::ones({4}, at::kDouble));
  state.tensors.set("exp_avg.p0", at::ones({7, 5}, at::kDouble));
  try {
    adamw.load(state);
    FAIL() << "no error";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("exp_avg_sq.p2"), HasSubstr("[4]"), HasSubstr("[1]")));
  }
  EXPECT_EQ(adamw.state().tensors["exp_avg.p0"].abs().sum().item<double>(), 0);
  EXPECT_THROW(adamw.load(Sgd(arenas_).state()), CheckpointError);
  EXPECT_THROW(adamw.load(StateDict{}), CheckpointError);
}

TEST_F(OptimizerTest, HalfPrecisionParametersAreRefused) {
  at::Tensor half = at::ones({4}, at::kBFloat16).requires_grad_();
  auto arenas = arenas_of({half});
  EXPECT_THROW(AdamW{arenas}, ConfigError);
}

TEST_F(OptimizerTest, ThreadsDoNotChangeTheBits) {
  const at::Tensor start = at::randn({200'003});
  const int threads = at::get_num_threads();
  std::vector<at::Tensor> results;
  for (const int count : {1, 3}) {
    at::set_num_threads(count);
    std::vector<at::Tensor> parameters{start.clone().requires_grad_()};
    auto arenas = arenas_of(parameters);
    AdamW adamw(arenas, {.learning_rate = 0.1});
    for (int step = 1; step < 3; ++step) {
      arenas[0].gradients().copy_(arenas[0].values()).mul_(step);
      adamw.step({.clip_norm = 0.5});
    }
    results.push_back(parameters[0].detach());
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(results[0].equal(results[1]));
}

TEST_F(OptimizerTest, StateThatLacksATensorNamesIt) {
  AdamW adamw(arenas_);
  StateDict state = adamw.state();
  NamedTensors fewer;
  for (const auto& [name, tensor] : state.tensors)
    if (name != "exp_avg.p1") fewer.set(name, tensor);
  state.tensors = fewer;
  try {
    adamw.load(state);
    FAIL() << "no error";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(HasSubstr("\"exp_avg.p1\""), HasSubstr("another model or optimizer")));
  }
}

}  // namespace
}  // namespace bunchtrain::optim
