// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/ema.hpp"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
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

}  // namespace
}  // namespace bunchtrain::optim
