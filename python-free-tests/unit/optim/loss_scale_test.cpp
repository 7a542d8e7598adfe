// SPDX-License-Identifier: Apache-2.0
// Optimizers that scale losses: what a plain loop would do with the scale is done by `step`.
#include "bunchtrain/optim/loss_scale.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/ranger.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

class LossScaleTest : public testing::Test {
 protected:
  /// As backward of a scaled loss leaves them; one of them is `bad` unless that is 0.
  void give_gradients(double scale, int step = 1, double bad = 0) {
    for (auto& arena : arenas_) {
      arena.begin_pass();
      arena.zero_gradients();
    }
    backward(parameters_, step);
    for (const auto& parameter : parameters_) parameter.mutable_grad().mul_(scale);
    if (bad != 0) parameters_[3].mutable_grad().view({-1})[17] = bad;
  }
  static double scale_of(const Optimizer& optimizer) { return optimizer.loss_scale().item<double>(); }

  std::vector<at::Tensor> parameters_ = make_parameters();
  std::vector<at::Tensor> before_ = copies_of(parameters_);
  tensor::ParameterArenas arenas_ = arenas_of(parameters_);
};

TEST_F(LossScaleTest, MovesAsAPlainLoopMovesIt) {
  Sgd sgd(arenas_, {.learning_rate = 1e-3});
  EXPECT_FALSE(sgd.loss_scale().defined());
  sgd.scale_losses({.initial = 4096, .growth = 8, .backoff = 0.25, .interval = 3});
  const CounterRandom random(3, 4);
  double scale = 4096;
  int finite_in_a_row = 0, left_out = 0, risen = 0;
  for (int step = 1; step <= 40; ++step) {
    EXPECT_EQ(scale_of(sgd), scale) << "step " << step;
    const bool finite = random.uniform(static_cast<std::uint64_t>(step)) > 0.25;
    give_gradients(scale, step, finite ? 0 : (step % 2 == 0 ? kInfinity : std::nan("")));
    EXPECT_EQ(sgd.step().applied(), finite);
    if (!finite) {
      scale *= 0.25;
      finite_in_a_row = 0;
      ++left_out;
    } else if (++finite_in_a_row == 3) {
      scale *= 8;
      finite_in_a_row = 0;
      ++risen;
    }
  }
  EXPECT_GT(left_out, 4);
  EXPECT_GT(risen, 2);
  EXPECT_EQ(sgd.steps(), 40);
}

TEST_F(LossScaleTest, UpdatesAndNormsAreThoseOfTheGradientsWithoutIt) {
  auto copies = copies_of(parameters_);
  auto plain_arenas = arenas_of(copies);
  AdamW scaled(arenas_, {.learning_rate = 0.05}), plain(plain_arenas, {.learning_rate = 0.05});
  scaled.scale_losses();  // 65536: a power of two changes no bits
  for (int step = 1; step <= 5; ++step) {
    give_gradients(65536, step);
    for (auto& arena : plain_arenas) {
      arena.begin_pass();
      arena.zero_gradients();
    }
    backward(copies, step);
    const StepOptions options{.clip_norm = 2, .gradient_scale = 0.5};
    EXPECT_EQ(scaled.step(options).gradient_norm(), plain.step(options).gradient_norm());
    EXPECT_EQ(scale_of(scaled), 65536);
  }
  for (std::size_t i = 0; i < copies.size(); ++i) EXPECT_TRUE(parameters_[i].equal(copies[i]));
}

TEST_F(LossScaleTest, AStepThatIsLeftOutChangesNothingElse) {
  Ranger ranger(arenas_, {.learning_rate = 0.1, .lookahead_steps = 2});
  ranger.scale_losses();
  for (int step = 1; step <= 4; ++step) {
    give_gradients(1, step, kInfinity);
    const StepReport report = ranger.step();
    EXPECT_FALSE(report.applied());
    EXPECT_FALSE(std::isfinite(report.gradient_norm()));
  }
  for (std::size_t i = 0; i < before_.size(); ++i) EXPECT_TRUE(parameters_[i].equal(before_[i]));
  EXPECT_EQ(scale_of(ranger), 65536.0 / 16);
  const StateDict state = ranger.state();
  EXPECT_EQ(state.tensors["exp_avg.p0"].abs().max().item<double>(), 0);

  // The slow weights began where the parameters were, although the first step was left out.
  give_gradients(scale_of(ranger), 5);
  ranger.step();
  give_gradients(scale_of(ranger), 6);
  ranger.step();
  for (std::size_t i = 0; i < before_.size(); ++i)
    EXPECT_LT((parameters_[i] - before_[i]).abs().max().item<double>(), 0.5);
}

TEST_F(LossScaleTest, SurvivesInTheStateAndItsViewStaysAlive) {
  AdamW adamw(arenas_, {.learning_rate = 0.05});
  adamw.scale_losses({.initial = 512, .interval = 3});
  give_gradients(512, 1, kInfinity);
  adamw.step();
  for (int step = 2; step <= 3; ++step) {
    give_gradients(256, step);
    adamw.step();
  }

  auto restored = copies_of(parameters_);
  auto restored_arenas = arenas_of(restored);
  AdamW other(restored_arenas, {.learning_rate = 0.05});
  other.scale_losses({.initial = 8, .interval = 3});
  const at::Tensor view = other.loss_scale();
  other.load(adamw.state());
  EXPECT_EQ(view.item<double>(), 256);
  EXPECT_EQ(other.steps(), adamw.steps());
  for (auto& arena : restored_arenas) arena.begin_pass();
  backward(restored, 4);
  for (const auto& parameter : restored) parameter.mutable_grad().mul_(256);
  other.step();
  EXPECT_EQ(view.item<double>(), 512) << "the finite steps in a row were restored, too";
  give_gradients(256, 4);
  adamw.step();
  for (std::size_t i = 0; i < restored.size(); ++i) EXPECT_TRUE(parameters_[i].equal(restored[i]));
}

TEST_F(LossScaleTest, StatesWithAndWithoutItLoadEachOther) {
  AdamW with(arenas_), without(arenas_);
  with.scale_losses({.initial = 512});
  EXPECT_FALSE(without.state().tensors.contains("loss_scale"));
  without.load(with.state());
  EXPECT_FALSE(without.loss_scale().defined());
  with.load(without.state());
  EXPECT_EQ(scale_of(with), 512);
  StateDict bad = with.state();
  bad.tensors.set("loss_scale", at::ones({3}, at::kDouble));
  EXPECT_THROW(with.load(bad), CheckpointError);
  EXPECT_EQ(scale_of(with), 512);
}

TEST_F(LossScaleTest, ParametersOfSeveralDevicesHaveNone) {
  std::vector<at::Tensor> apart = {at::ones({3}).requires_grad_(),
                                   at::ones({3}, at::TensorOptions(at::kMeta)).requires_grad_()};
  auto arenas = arenas_of(apart);
  Sgd sgd(arenas);
  EXPECT_THROW(sgd.scale_losses(), ConfigError);
  EXPECT_FALSE(sgd.loss_scale().defined());
}

TEST_F(LossScaleTest, BadOptionsAreNamed) {
  Sgd sgd(arenas_);
  EXPECT_THROW(sgd.scale_losses({.initial = 0}), ConfigError);
  EXPECT_THROW(sgd.scale_losses({.initial = kInfinity}), ConfigError);
  EXPECT_THROW(sgd.scale_losses({.growth = 0.5}), ConfigError);
  EXPECT_THROW(sgd.scale_losses({.backoff = 1}), ConfigError);
  EXPECT_THROW(sgd.scale_losses({.interval = 0}), ConfigError);
  EXPECT_FALSE(sgd.loss_scale().defined());
}

}  // namespace
}  // namespace bunchtrain::optim
