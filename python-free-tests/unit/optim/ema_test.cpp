// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/ema.hpp"

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/optim/registry.hpp"
#include "support/message_of.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

TEST(EmaTest, FollowsItsDefinition) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  Ema ema(arenas, 0.9);
  at::Tensor expected = parameters[0].detach().clone();
  for (int step = 0; step < 5; ++step) {
    const at::NoGradGuard no_grad;
    arenas[0].values().add_(0.1);
    arenas[0].bump_versions();
    ema.update();
    expected = 0.9 * expected + 0.1 * parameters[0].detach();
  }
  ema.exchange();
  EXPECT_LE((parameters[0] - expected).abs().max().item<double>(), 1e-14);
}

TEST(EmaTest, TwoExchangesRestoreTheBits) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  Ema ema(arenas, 0.5);
  {
    const at::NoGradGuard no_grad;
    arenas[0].values().mul_(1.7);
  }
  const at::Tensor before = parameters[3].detach().clone();
  ema.exchange();
  EXPECT_FALSE(parameters[3].equal(before));
  ema.exchange();
  EXPECT_TRUE(parameters[3].equal(before));
}

TEST(EmaTest, StateRestores) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  Ema ema(arenas, 0.5);
  const auto others = make_parameters();
  auto other_arenas = arenas_of(others);
  Ema other(other_arenas, 0.1);
  other.load(ema.state());
  other.exchange();
  EXPECT_TRUE(others[0].equal(parameters[0]));
  EXPECT_EQ(other.state().real("decay"), 0.5);
  EXPECT_THROW(Ema(arenas, 1.0), ConfigError);
}

/// In the step or after it: the same bits, also of a step that is left out, by every optimizer, with frozen parameters or not.
TEST(EmaTest, MovesWithTheStepAsAfterIt) {
  for (const std::string& name : names()) {
    const auto together = make_parameters(), apart = copies_of(together);
    for (const auto* parameters : {&together, &apart}) (*parameters)[2].set_requires_grad(false);
    auto arenas = arenas_of(together), other_arenas = arenas_of(apart);
    const auto optimizer = create(name, arenas, {}), other = create(name, other_arenas, {});
    EXPECT_TRUE(optimizer->owns_all());
    Ema with_step(arenas, 0.9), after_step(other_arenas, 0.9);
    for (int step = 1; step < 5; ++step) {
      for (auto* all : {&arenas, &other_arenas})
        for (auto& arena : *all) {
          arena.begin_pass();
          arena.zero_gradients();
        }
      backward(together, step);
      backward(apart, step);
      const double scale = step == 3 ? std::nan("") : 1;
      const bool applied =
          optimizer->step({.gradient_scale = scale, .check_finite = true, .average = &with_step}).applied();
      EXPECT_EQ(applied, step != 3);
      other->step({.gradient_scale = scale, .check_finite = true});
      after_step.update();
      EXPECT_TRUE(with_step.averages()[0].equal(after_step.averages()[0])) << name << " step " << step;
    }
    EXPECT_FALSE(with_step.averages()[0].equal(arenas[0].values()));
    EXPECT_THAT(test::message_of<ConfigError>([&] { optimizer->step({.average = &after_step}); }),
                testing::HasSubstr("of other arenas"));
  }
}

}  // namespace
}  // namespace bunchtrain::optim
