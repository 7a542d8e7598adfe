// SPDX-License-Identifier: Apache-2.0
// LibTorch's optimizers under ours, side by side with the fused ones.
#include "bunchtrain/optim/torch_optimizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "bunchtrain/core/error.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

using testing::HasSubstr;

/// One of LibTorch's and ours of the same options.
struct Pair {
  std::string name;
  TorchOptions options;
  std::function<std::unique_ptr<Optimizer>(tensor::ParameterArenas&)> fused;
};

template <class Type, class Options>
Pair pair(std::string name, Options options) {
  return {std::move(name), options,
          [options](tensor::ParameterArenas& arenas) { return std::make_unique<Type>(arenas, options); }};
}

class TorchOptimizerTest : public testing::TestWithParam<Pair> {
 protected:
  /// A problem under one optimizer.
  struct Side {
    explicit Side(std::vector<at::Tensor> start)
        : parameters(std::move(start)), arenas(arenas_of(parameters)) {}
    StepReport step(int number, const StepOptions& options, double scale = 1, double bad = 0) {
      for (auto& arena : arenas) {
        arena.begin_pass();
        arena.zero_gradients();
      }
      backward(parameters, number);
      for (const auto& parameter : parameters)
        if (parameter.grad().defined()) parameter.mutable_grad().mul_(scale);
      if (bad != 0) parameters[3].mutable_grad().view({-1})[17] = bad;
      return optimizer->step(options);
    }

    std::vector<at::Tensor> parameters;
    tensor::ParameterArenas arenas;
    std::unique_ptr<Optimizer> optimizer;
  };

  TorchOptimizerTest() {
    torch_.optimizer = std::make_unique<TorchOptimizer>(torch_.arenas, GetParam().options);
    fused_.optimizer = GetParam().fused(fused_.arenas);
  }
  template <class Action>
  void on_both(Action action) {
    for (Side* side : {&torch_, &fused_}) action(*side);
  }

  std::vector<at::Tensor> start_ = make_parameters();
  Side torch_{copies_of(start_)}, fused_{copies_of(start_)};
};

TEST_P(TorchOptimizerTest, EqualsTheFusedOneWithClippingGroupsAndRates) {
  on_both([](Side& side) {
    side.optimizer->set_groups(
        {{.pattern = "p1", .weight_decay = 0.0}, {.pattern = "p2", .learning_rate_factor = 0.3}});
  });
  for (int step = 1; step < 12; ++step) {
    std::vector<double> norms;
    on_both([&](Side& side) {
      side.optimizer->set_learning_rate(0.01 * step);
      norms.push_back(side.step(step, {.clip_norm = 3, .gradient_scale = 0.5}).gradient_norm());
    });
    EXPECT_NEAR(norms[0], norms[1], 1e-12 * norms[1]);
  }
  EXPECT_EQ(torch_.optimizer->steps(), 11);
  expect_equal(torch_.parameters, fused_.parameters, 1e-11);
}

TEST_P(TorchOptimizerTest, GradientsThatAreNotFiniteAreLeftOut) {
  for (int step = 1; step < 8; ++step) {
    const double bad = step % 3 == 0 ? std::numeric_limits<double>::infinity() : 0;
    on_both([&](Side& side) {
      EXPECT_EQ(side.step(step, {.check_finite = true}, 1, bad).applied(), bad == 0) << step;
    });
  }
  EXPECT_EQ(torch_.optimizer->steps(), 5);
  expect_equal(torch_.parameters, fused_.parameters, 1e-11);
}

TEST_P(TorchOptimizerTest, LossesAreScaled) {
  on_both([](Side& side) { side.optimizer->scale_losses({.initial = 1024, .interval = 2}); });
  for (int step = 1; step < 8; ++step) {
    const double bad = step == 4 ? std::nan("") : 0;
    on_both([&](Side& side) {
      side.step(step, {.clip_norm = 3}, side.optimizer->loss_scale().item<double>(), bad);
    });
  }
  EXPECT_EQ(torch_.optimizer->loss_scale().item<double>(), fused_.optimizer->loss_scale().item<double>());
  EXPECT_EQ(torch_.optimizer->steps(), fused_.optimizer->steps());
  expect_equal(torch_.parameters, fused_.parameters, 1e-11);
}

TEST_P(TorchOptimizerTest, FrozenParametersAreLeftAlone) {
  for (const auto& parameter : {torch_.parameters[1], fused_.parameters[1]})
    parameter.set_requires_grad(false);
  on_both([](Side& side) {
    for (int step = 1; step < 4; ++step) side.step(step, {});
  });
  EXPECT_TRUE(torch_.parameters[1].equal(start_[1]));
  expect_equal(torch_.parameters, fused_.parameters, 1e-11);
}

TEST_P(TorchOptimizerTest, RestoredStateContinuesToTheBit) {
  for (int step = 1; step < 4; ++step) torch_.step(step, {});
  Side restored(copies_of(torch_.parameters));
  restored.optimizer = std::make_unique<TorchOptimizer>(restored.arenas, GetParam().options);
  restored.optimizer->load(torch_.optimizer->state());
  for (Side* side : {&torch_, &restored})
    for (int step = 4; step < 7; ++step) side->step(step, {.clip_norm = 3});
  for (std::size_t i = 0; i < start_.size(); ++i)
    EXPECT_TRUE(restored.parameters[i].equal(torch_.parameters[i])) << "parameter " << i;
  const StateDict state = torch_.optimizer->state(), again = restored.optimizer->state();
  EXPECT_EQ(state.values, again.values);
  for (const auto& [name, tensor] : state.tensors) EXPECT_TRUE(again.tensors[name].equal(tensor)) << name;
}

TEST_P(TorchOptimizerTest, StateHasTheNamesAndNumbersOfTheFusedOne) {
  on_both([](Side& side) {
    for (int step = 1; step < 4; ++step) side.step(step, {});
  });
  const StateDict found = torch_.optimizer->state(), expected = fused_.optimizer->state();
  EXPECT_EQ(found.tensors.size(), expected.tensors.size());
  for (const auto& [name, tensor] : expected.tensors)
    EXPECT_LE((found.tensors[name] - tensor).abs().max().item<double>(), 1e-11) << name;
  EXPECT_THROW(torch_.optimizer->load(expected), CheckpointError);
}

INSTANTIATE_TEST_SUITE_P(
    All, TorchOptimizerTest,
    testing::Values(pair<Sgd>("Sgd", SgdOptions{.weight_decay = 0.1}),
                    pair<Sgd>("Nesterov", SgdOptions{.momentum = 0.9, .nesterov = true, .weight_decay = 0.1}),
                    pair<Adam>("Adam", AdamOptions{.beta1 = 0.8, .weight_decay = 0.1}),
                    pair<AdamW>("AdamW", AdamWOptions{.beta2 = 0.99, .weight_decay = 0.1}),
                    pair<Rmsprop>("Rmsprop", RmspropOptions{.weight_decay = 0.1}),
                    pair<Rmsprop>("RmspropWithMomentum", RmspropOptions{.decay = 0.9, .momentum = 0.7})),
    [](const auto& parameter) { return parameter.param.name; });

TEST(TorchOptimizerFaceTest, DescribesItselfAndRefusesWhatLibTorchDoesNotHave) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  EXPECT_EQ(TorchOptimizer(arenas, AdamWOptions{.learning_rate = 0.005, .weight_decay = 1e-4}).describe(),
            "torch::optim::AdamW(learning_rate 0.005, betas 0.9 0.999, epsilon 1e-08, weight_decay 0.0001)");
  EXPECT_THROW(TorchOptimizer(arenas, AdamOptions{.beta1 = 1}), ConfigError);
  try {
    TorchOptimizer(arenas, RmspropOptions::keras3());
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("torch::optim::RMSprop has no other"));
  }
}

}  // namespace
}  // namespace bunchtrain::optim
