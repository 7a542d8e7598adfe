// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/activation_budget.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/ops/conv3d.hpp"
#include "bunchtrain/parallel/unit_profile.hpp"
#include "pipeline/held_bytes.hpp"

namespace bunchtrain::parallel {
namespace {

PipelineUnit unit(const std::string& name, double held, double written, double seconds) {
  return {.name = name,
          .costs = {.forward = seconds, .input_gradient = 1, .weight_gradient = 1, .activation_bytes = held},
          .output_bytes = written};
}

/// Whole numbers, so that nothing is rounded on the grid of 8192.
UnitProfile random_profile(int units, std::uint64_t seed) {
  RandomSequence random(CounterRandom(seed, 1));
  UnitProfile profile{.model = "random"};
  double all = 0;
  for (int i = 0; i < units; ++i) {
    const double written = 1.0 + static_cast<double>(random.below(20)),
                 inside = static_cast<double>(random.below(100));
    profile.units.push_back(unit("unit" + std::to_string(i), written + inside, written, random.uniform()));
    all += written + inside;
  }
  profile.units.front().costs.activation_bytes += 8192 - all;  // one byte is one grain
  return profile;
}

/// The least extra time of all subsets that fit; infinity if none does.
double by_force(const UnitProfile& profile, double bytes) {
  double least = std::numeric_limits<double>::infinity();
  for (unsigned subset = 0; subset < 1U << profile.units.size(); ++subset) {
    double held = 0, seconds = 0, largest = 0;
    for (std::size_t i = 0; i < profile.units.size(); ++i) {
      const PipelineUnit& each = profile.units[i];
      if ((subset >> i & 1U) == 0) {
        held += each.costs.activation_bytes;
        continue;
      }
      held += each.output_bytes;
      seconds += each.costs.forward;
      largest = std::max(largest, each.costs.activation_bytes);
    }
    if (held + largest <= bytes) least = std::min(least, seconds);
  }
  return least;
}

TEST(ActivationBudgetTest, TakesTheLeastTimeOfAllChoices) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const UnitProfile profile = random_profile(11, seed);
    for (const double budget : {8192.0, 8100.0, 8000.0, 7900.0, 7800.0, 300.0}) {
      const double least = by_force(profile, budget);
      if (std::isinf(least)) {
        EXPECT_THROW((void)choose_recomputed(profile, 1, budget), ConfigError) << seed << " " << budget;
        continue;
      }
      const ActivationChoice choice = choose_recomputed(profile, 1, budget);
      EXPECT_NEAR(choice.extra_seconds, least, 1e-12) << seed << " " << budget;
      EXPECT_LE(choice.bytes, budget) << seed << " " << budget;
    }
  }
}

TEST(ActivationBudgetTest, NothingWhereAllFits) {
  const UnitProfile profile{.units = {unit("a", 100, 10, 1), unit("b", 100, 10, 1)}};
  const ActivationChoice choice = choose_recomputed(profile, 4, 800);
  EXPECT_TRUE(choice.recomputed.empty());
  EXPECT_EQ(choice.bytes, 800);
  EXPECT_EQ(choice.extra_seconds, 0);
}

TEST(ActivationBudgetTest, SaysWhatTheLeastIs) {
  const UnitProfile profile{.units = {unit("a", 100, 10, 1), unit("b", 60, 10, 1), unit("c", 20, 20, 1)}};
  try {
    (void)choose_recomputed(profile, 2, 200);
    FAIL() << "20 + 10 + 10 and 100 inside, of two samples, are 280";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("at least 280 bytes"));
  }
  EXPECT_EQ(choose_recomputed(profile, 2, 280).bytes, 280);
}

/// A whole forward pass holds no more than its units were measured to, with nothing computed again and with some.
TEST(ActivationBudgetTest, TheUnetHoldsWhatWasPredicted) {
  models::CaloDiffusion network(
      models::CaloDiffusionOptions{.cells = {9, 8, 6}, .channels = {8, 16}, .attention = true});
  const NamedTensors inputs = network->example_inputs(4);
  const UnitProfile profile = profile_units(*network, inputs);
  const nn::StepContext context(1, 0, at::arange(4));
  const auto held = [&] {
    const HeldBytes bytes;
    const NamedTensors outputs = network->forward(inputs);
    return static_cast<double>(bytes.now());
  };
  (void)held();  // kernels that are kept
  const double whole = held();
  const ActivationChoice all = choose_recomputed(profile, 4, 1e12);
  EXPECT_LE(whole, all.bytes);
  EXPECT_GE(whole, 0.97 * all.bytes);

  const ActivationChoice some = choose_recomputed(profile, 4, 0.75 * all.bytes);
  EXPECT_FALSE(some.recomputed.empty());
  EXPECT_LE(some.bytes, 0.75 * all.bytes);
  network->recompute(some.recomputed);
  EXPECT_LE(held(), some.bytes);
  EXPECT_THROW(network->recompute({"no such unit"}), ConfigError);
}

TEST(ActivationBudgetTest, TheUnetPredictsWhatItHolds) {
  for (const auto& options :
       {models::CaloDiffusionOptions{.cells = {9, 8, 6}, .channels = {8, 16}},
        models::CaloDiffusionOptions{
            .cells = {8, 9, 7}, .channels = {16, 8, 24}, .blocks = 2, .attention = false}}) {
    models::CaloDiffusion network(options);
    const NamedTensors inputs = network->example_inputs(4);
    const nn::StepContext context(1, 0, at::arange(4));
    (void)network->forward(inputs);
    const HeldBytes held;
    const NamedTensors outputs = network->forward(inputs);
    const auto predicted = static_cast<double>(network->predicted_activation_bytes(4, 1));
    EXPECT_NEAR(static_cast<double>(held.now()) / predicted, 1, 0.03);
  }
}

/// Zeros on one side only need a copy of the image while they are computed with, and not until backward.
TEST(HeldBytesTest, ConvolutionsKeepNoPaddedImage) {
  const at::Tensor image = at::ones({2, 6, 7, 8, 4}).requires_grad_(),
                   weight = at::ones({4, 4, 3, 3, 3}).requires_grad_();
  for (const ops::Padding3& padding : {ops::Padding3::same({3, 3, 3}), ops::Padding3{{1, 0, 0}, {0, 0, 0}},
                                       ops::Padding3{{0, 2, 0}, {1, 0, 1}}}) {
    const HeldBytes held;
    const at::Tensor output = ops::conv3d(image, weight, {}, padding);
    EXPECT_EQ(held.now(), static_cast<std::int64_t>(output.nbytes()));
  }
}

TEST(ActivationBudgetTest, GradientsAreTheSameToTheBit) {
  const auto gradients = [](const std::set<std::string>& recomputed) {
    models::CaloDiffusion network(models::CaloDiffusionOptions{.cells = {9, 8, 6}, .channels = {8, 16}});
    network->recompute(recomputed);
    const nn::StepContext context(1, 0, at::arange(4));
    const NamedTensors out = network->forward(network->example_inputs(4));
    ((out["cells"] - out["cells_target"]).square().mean() +
     (out["layers"] - out["layers_target"]).square().mean())
        .backward();
    std::vector<at::Tensor> result;
    for (const at::Tensor& parameter : network->parameters()) result.push_back(parameter.grad());
    return result;
  };
  const auto plain = gradients({}), again = gradients({"down0_0", "middle0", "attention", "up0_0", "stem"});
  ASSERT_EQ(plain.size(), again.size());
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(at::equal(plain[i], again[i])) << i;
}

}  // namespace
}  // namespace bunchtrain::parallel
