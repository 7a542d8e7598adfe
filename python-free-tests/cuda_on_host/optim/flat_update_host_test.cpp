// SPDX-License-Identifier: Apache-2.0
// The kernel of the optimizers, run on the host, does to every element what its rule says.

#include "flat_update.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {
namespace {

constexpr double kScale = 0.25;

/// Memory as an arena has it.
template <class T>
struct Problem {
  explicit Problem(std::int64_t elements) : count(elements) {
    const CounterRandom random(1, 2);
    for (auto* column : {&value, &gradient, &first, &second}) {
      for (std::int64_t i = 0; i < elements; ++i) {
        column->push_back({static_cast<T>(random.uniform(position++) +
                                          (column == &first || column == &second ? 0.5 : -0.5))});
      }
    }
  }
  FlatRange<T> range(const double* scale) {
    return {.value = value.data(),
            .gradient = gradient.data(),
            .gradient_scale = scale,
            .state = {first.data(), second.data()},
            .count = count};
  }

  std::vector<T> value, gradient, first, second;  ///< new[] aligns to 16 bytes, as the kernel needs
  std::int64_t count;
  std::uint64_t position = 0;
};

template <template <class> class Rule, class T>
void apply_plainly(const Rule<T>& rule, Problem<T>& problem) {
  for (std::size_t i = 0; i < problem.value.size(); ++i) {
    const T gradient = problem.gradient[i] * static_cast<T>(kScale);
    if constexpr (Rule<T>::kStates == 0) rule(problem.value[i], gradient);
    if constexpr (Rule<T>::kStates == 1) rule(problem.value[i], gradient, problem.first[i]);
    if constexpr (Rule<T>::kStates == 2)
      rule(problem.value[i], gradient, problem.first[i], problem.second[i]);
  }
}

template <template <class> class Rule, class T>
void expect_same_bits(const Rule<double>& rule) {
  for (const std::int64_t elements :
       {0, 16, 1024, 1040}) {  // none, less than a block, one block's worth, a rest
    Problem<T> expected(elements);
    Problem<T> untouched(elements);
    apply_plainly(rule.template as<T>(), expected);
    const Rule<T> rounded = rule.template as<T>();
    const auto expect_after = [&](const double* scale, const Problem<T>& wanted) {
      Problem<T> found(elements);
      update_on_gpu(&rounded, found.range(scale), nullptr);
      EXPECT_EQ(found.value, wanted.value);
      EXPECT_EQ(found.first, wanted.first);
      EXPECT_EQ(found.second, wanted.second);
    };
    expect_after(&kScale, expected);
    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
      expect_after(&bad, untouched);
  }
}

template <template <class> class Rule>
void expect_same_bits_in_both_types(const Rule<double>& rule) {
  expect_same_bits<Rule, float>(rule);
  expect_same_bits<Rule, double>(rule);
}

TEST(FlatUpdateKernelTest, EveryRule) {
  expect_same_bits_in_both_types(SgdRule<double>{0.1, 0.01});
  expect_same_bits_in_both_types(MomentumRule<double>{0.1, 0.01, 0.9, 1, 0.9});
  expect_same_bits_in_both_types(AdamRule<double>{0.9, 0.1, 0.99, 0.01, 1e-8, 0.01, 0.999, 0.1, 1.5});
  expect_same_bits_in_both_types(RadamRule<double>{0.9, 0.1, 0.99, 0.01, 1e-5, 0.999, 0.1, 1});
  expect_same_bits_in_both_types(RadamRule<double>{0.9, 0.1, 0.99, 0.01, 1e-5, 0.999, 0.1, 0});
  expect_same_bits_in_both_types(LookaheadRule<double>{0.5});
  expect_same_bits_in_both_types(RmspropRule<double>{0.1, 0.01, 0.9, 0.1, 1e-7, 0});
  expect_same_bits_in_both_types(RmspropMomentumRule<double>{{0.1, 0.01, 0.9, 0.1, 0, 1e-8}, 0.7, 1, 0.1});
}

AdamRule<double> adam_rule(int step) {
  return {.beta1 = 0.9,
          .one_minus_beta1 = 0.1,
          .beta2 = 0.99,
          .one_minus_beta2 = 0.01,
          .epsilon = 1e-8,
          .l2 = 0,
          .keep = 1 - 1e-3 / step,
          .step_size = 0.1 / (1 - std::pow(0.9, step)),
          .inverse_bias2_root = 1 / std::sqrt(1 - std::pow(0.99, step))};
}

TEST(FlatUpdateKernelTest, LaunchesThatAreRepeatedReadTheNumbersOfTheirStep) {
  Problem<float> expected(1040), found(1040);
  std::vector<double> norms{3, 4};
  ScaleRule scale_rule{};
  AdamRule<float> rule{};
  ClipScale scale{};
  const auto range = found.range(&scale.scale);
  const auto replay = [&] {
    find_scale_on_gpu(&scale_rule, norms.data(), 2, nullptr, &scale, nullptr);
    update_on_gpu(&rule, range, nullptr);
  };
  for (int step = 1; step <= 4; ++step) {
    scale_rule = {.gradient_scale = 2 * kScale / step, .clip_norm = 5 * kScale, .check_finite = true};
    rule = adam_rule(step).as<float>();
    replay();
    const double factor = find_scale(scale_rule, 5, nullptr).scale;
    for (std::size_t i = 0; i < expected.value.size(); ++i)
      rule(expected.value[i], expected.gradient[i] * static_cast<float>(factor), expected.first[i],
           expected.second[i]);
    EXPECT_EQ(found.value, expected.value) << step;
    EXPECT_EQ(found.first, expected.first);
    EXPECT_EQ(found.second, expected.second);
  }
}

/// Steps of Lookahead in which nothing moves: launched like the others.
TEST(FlatUpdateKernelTest, IdleRulesLeaveEverythingAsItIs) {
  LookaheadRule<float> rule{};
  Problem<float> found(1040), expected(1040);
  const FlatRange<float> range = found.range(&kScale);
  for (const float factor : {0.0F, 0.5F, 0.0F, 0.25F}) {
    rule = {factor};
    update_on_gpu(&rule, range, nullptr);
    if (factor > 0) apply_plainly(rule, expected);
    EXPECT_EQ(found.value, expected.value) << factor;
    EXPECT_EQ(found.first, expected.first);
  }
}

TEST(FlatUpdateKernelTest, ScalesThatOverflowTheTypeAreNotFinite) {
  const double huge = 1e300;
  const SgdRule<float> rule{0.1F, 0};
  Problem<float> found(16);
  const Problem<float> untouched(16);
  update_on_gpu(&rule, found.range(&huge), nullptr);
  EXPECT_EQ(found.value, untouched.value);
}

ClipScale scale_of(const ScaleRule& rule, const std::vector<double>& norms, LossScale* loss_scale = nullptr) {
  ClipScale found{};
  find_scale_on_gpu(&rule, norms.data(), static_cast<int>(norms.size()), loss_scale, &found, nullptr);
  return found;
}

TEST(ScaleKernelTest, ClipsTheNormOfAllArenas) {
  const ClipScale clipped = scale_of({.gradient_scale = 0.5, .clip_norm = 1, .check_finite = true}, {3, 4});
  EXPECT_EQ(clipped.norm, 2.5);
  EXPECT_EQ(clipped.scale, 0.2);
  const ClipScale small = scale_of({.gradient_scale = -2, .clip_norm = 11, .check_finite = false}, {3, 4});
  EXPECT_EQ(small.norm, 10);
  EXPECT_EQ(small.scale, -2);
  EXPECT_EQ(scale_of({.gradient_scale = 1, .clip_norm = 0, .check_finite = true}, {3, 4}).scale, 1);
}

TEST(ScaleKernelTest, NormsThatAreNotFiniteForbidTheUpdateIfAsked) {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  for (const double bad : {infinity, nan}) {
    for (const double clip : {0.0, 1.0})
      EXPECT_TRUE(std::isnan(
          scale_of({.gradient_scale = 1, .clip_norm = clip, .check_finite = true}, {3, bad}).scale));
  }
  EXPECT_EQ(scale_of({.gradient_scale = 1, .clip_norm = 1, .check_finite = false}, {nan}).scale, 1);
  EXPECT_EQ(scale_of({.gradient_scale = 1, .clip_norm = 1, .check_finite = false}, {infinity}).scale, 0);
}

constexpr LossScaleRule kLossScaleRule{.growth = 4, .backoff = 0.5, .interval = 3};

TEST(LossScaleKernelTest, GradientsAreDividedBeforeTheyAreClipped) {
  LossScale loss_scale{1024, 0};
  const ScaleRule rule{
      .gradient_scale = 0.5, .clip_norm = 1, .check_finite = false, .loss_scale = kLossScaleRule};
  const ClipScale found = scale_of(rule, {3 * 1024, 4 * 1024}, &loss_scale);
  EXPECT_EQ(found.norm, 2.5);
  EXPECT_EQ(found.scale, 0.2 / 1024);
}

TEST(LossScaleKernelTest, FallsWithLostGradientsAndRisesAfterFiniteOnesInARow) {
  LossScale state{1024, 0};
  const ScaleRule rule{
      .gradient_scale = 1, .clip_norm = 0, .check_finite = false, .loss_scale = kLossScaleRule};
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  struct Step {
    double norm, scale_after, finite_steps_after;
  };
  for (const Step& step : {Step{1, 1024, 1}, Step{1, 1024, 2}, Step{infinity, 512, 0}, Step{nan, 256, 0},
                           Step{1, 256, 1}, Step{0, 256, 2}, Step{1, 1024, 0}, Step{1, 1024, 1}}) {
    const double scale_before = state.scale;
    const ClipScale found = scale_of(rule, {3, step.norm}, &state);
    EXPECT_EQ(std::isnan(found.scale), !std::isfinite(step.norm));
    if (std::isfinite(step.norm)) {
      EXPECT_EQ(found.scale, 1 / scale_before);
    }
    EXPECT_EQ(state.scale, step.scale_after);
    EXPECT_EQ(state.finite_steps, step.finite_steps_after);
  }
}

TEST(LossScaleKernelTest, RisesNoFurtherThanItsInverseIsANumber) {
  LossScale state{0x1p125, 2};
  const ScaleRule rule{
      .gradient_scale = 1, .clip_norm = 0, .check_finite = false, .loss_scale = kLossScaleRule};
  scale_of(rule, {0}, &state);
  EXPECT_EQ(state.scale, kLargestLossScale);
  EXPECT_TRUE(std::isnormal(static_cast<float>(1 / state.scale)));
}

}  // namespace
}  // namespace bunchtrain::optim
