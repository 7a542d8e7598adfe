// SPDX-License-Identifier: Apache-2.0
// The kernel of the optimizers, run on the host, does to every element what its rule says.

#include "flat_update.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
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
    for (auto* column : {&value, &gradient, &first, &second, &third, &average}) {
      for (std::int64_t i = 0; i < elements; ++i) {
        column->push_back({static_cast<T>(random.uniform(position++) +
                                          (column == &first || column == &second ? 0.5 : -0.5))});
      }
    }
  }
  /// Elements [begin, end).
  FlatRange<T> range(std::int64_t begin, std::int64_t end, double average_weight = 0) {
    return {.value = value.data() + begin,
            .gradient = gradient.data() + begin,
            .state = {first.data() + begin, second.data() + begin, third.data() + begin},
            .average = average_weight > 0 ? average.data() + begin : nullptr,
            .average_weight = average_weight,
            .count = end - begin};
  }
  void expect_equal(const Problem& wanted) const {
    EXPECT_EQ(value, wanted.value);
    EXPECT_EQ(first, wanted.first);
    EXPECT_EQ(second, wanted.second);
    EXPECT_EQ(third, wanted.third);
    EXPECT_EQ(average, wanted.average);
  }

  std::vector<T> value, gradient, first, second, third, average;  ///< new[] aligns as the kernel needs
  std::int64_t count;
  std::uint64_t position = 0;
};

template <template <class> class Rule, class T>
void apply_plainly(const Rule<T>& rule, Problem<T>& problem, std::int64_t begin, std::int64_t end) {
  for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
    const T gradient = problem.gradient[i] * static_cast<T>(kScale);
    if constexpr (Rule<T>::kStates == 0) rule(problem.value[i], gradient);
    if constexpr (Rule<T>::kStates == 1) rule(problem.value[i], gradient, problem.first[i]);
    if constexpr (Rule<T>::kStates == 2)
      rule(problem.value[i], gradient, problem.first[i], problem.second[i]);
    if constexpr (Rule<T>::kStates == 3)
      rule(problem.value[i], gradient, problem.first[i], problem.second[i], problem.third[i]);
  }
}

/// As `at::lerp` does it.
template <class T>
void follow_plainly(Problem<T>& problem, double average_weight) {
  const T weight = static_cast<T>(average_weight);
  for (std::size_t i = 0; i < problem.value.size(); ++i) {
    T& average = problem.average[i];
    const T value = problem.value[i];
    average = weight < T(0.5) ? std::fma(weight, value - average, average)
                              : std::fma(weight - 1, value - average, value);
  }
}

/// The table of a launch.
template <template <class> class Rule, class T>
struct Table {
  void add(const Rule<T>& rule, const FlatRange<T>& range) {
    jobs.push_back({.range = range, .first_block = blocks, .rule = rule});
    blocks += update_blocks(range.count * static_cast<std::int64_t>(sizeof(T)));
  }
  void launch(const double* scale) const {
    update_on_gpu(jobs.data(), static_cast<int>(jobs.size()), blocks, scale, nullptr);
  }

  std::vector<FlatJob<Rule, T>> jobs;
  std::int64_t blocks = 0;
};

/// Two rules in turns over stretches of a memory, which is what launches of one stretch each would do.
template <template <class> class Rule, class T>
void expect_same_bits(const Rule<double>& rule, const Rule<double>& other) {
  const Rule<T> rules[] = {rule.template as<T>(), other.template as<T>()};
  for (const std::vector<std::int64_t>& ends :
       {std::vector<std::int64_t>{0}, {16}, {2048}, {2064, 2080, 2096, 9000 / 16 * 16}, {16, 6016, 6032}}) {
    for (const double weight : {0.0, 0.01, 0.75}) {
      Problem<T> expected(ends.back()), untouched(ends.back());
      std::int64_t begin = 0;
      for (std::size_t i = 0; i < ends.size(); begin = ends[i++])
        apply_plainly(rules[i % 2], expected, begin, ends[i]);
      if (weight > 0) follow_plainly(expected, weight);
      if (weight > 0) follow_plainly(untouched, weight);  // averages move in steps that are left out, too
      const auto expect_after = [&](const double* scale, const Problem<T>& wanted) {
        Problem<T> found(ends.back());
        Table<Rule, T> table;
        std::int64_t from = 0;
        for (std::size_t i = 0; i < ends.size(); from = ends[i++])
          table.add(rules[i % 2], found.range(from, ends[i], weight));
        table.launch(scale);
        found.expect_equal(wanted);
      };
      expect_after(&kScale, expected);
      for (const double bad :
           {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
        expect_after(&bad, untouched);
    }
  }
}

template <template <class> class Rule>
void expect_same_bits_in_both_types(const Rule<double>& rule, const Rule<double>& other) {
  expect_same_bits<Rule, float>(rule, other);
  expect_same_bits<Rule, double>(rule, other);
}

TEST(FlatUpdateKernelTest, EveryRule) {
  expect_same_bits_in_both_types(SgdRule<double>{0.1, 0.01}, {0.2, 0});
  expect_same_bits_in_both_types(MomentumRule<double>{0.1, 0.01, 0.9, 1, 0.9}, {0.2, 0, 0.9, 0, 1});
  expect_same_bits_in_both_types(AdamRule<double>{0.9, 0.1, 0.99, 0.01, 1e-8, 0.01, 0.999, 0.1, 1.5},
                                 {0.9, 0.1, 0.99, 0.01, 1e-8, 0, 1, 0.2, 1.5});
  const RadamRule<double> adaptive{0.9, 0.1, 0.99, 0.01, 1e-5, 0.999, 0.1, 1};
  const RadamRule<double> plain{0.9, 0.1, 0.99, 0.01, 1e-5, 0.999, 0.1, 0};
  expect_same_bits_in_both_types(adaptive, plain);
  expect_same_bits_in_both_types(RangerRule<double>{adaptive, 0.5}, RangerRule<double>{plain, 0.25});
  expect_same_bits_in_both_types(RmspropRule<double>{0.1, 0.01, 0.9, 0.1, 1e-7, 0},
                                 {0.2, 0, 0.9, 0.1, 1e-7, 0});
  expect_same_bits_in_both_types(RmspropMomentumRule<double>{{0.1, 0.01, 0.9, 0.1, 0, 1e-8}, 0.7, 1, 0.1},
                                 {{0.2, 0, 0.9, 0.1, 0, 1e-8}, 0.7, 0.1, 1});
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
  ScaleRule scale_rule{};
  ClipScale scale{};
  unsigned arrived = 0;
  std::vector<double> partial_sums(1);
  Table<AdamRule, float> table;
  table.add({}, found.range(0, 1040, 0.1));
  double norm = 0;
  for (const float gradient : found.gradient) norm += double{gradient} * double{gradient};
  norm = std::sqrt(norm);
  const auto replay = [&] {
    add_squares_on_gpu(found.gradient.data(), 1040, {partial_sums.data(), &arrived, 1}, 0,
                       {.rule = &scale_rule, .loss_scale = nullptr, .found = &scale, .norm = nullptr},
                       nullptr);
    table.launch(&scale.scale);
  };
  for (int step = 1; step <= 4; ++step) {
    scale_rule = {.gradient_scale = 2 * kScale / step, .clip_norm = 5 * kScale, .check_finite = true};
    const AdamRule<float> rule = adam_rule(step).as<float>();
    table.jobs[0].rule = rule;
    replay();
    EXPECT_NEAR(scale.norm, norm * 2 * kScale / step, 1e-12);
    EXPECT_EQ(scale.scale, find_scale(scale_rule, scale.norm / scale_rule.gradient_scale, nullptr).scale);
    for (std::size_t i = 0; i < expected.value.size(); ++i)
      rule(expected.value[i], expected.gradient[i] * static_cast<float>(scale.scale), expected.first[i],
           expected.second[i]);
    follow_plainly(expected, 0.1);
    found.expect_equal(expected);
  }
}

/// Steps of Lookahead in which the slow weights lie still neither read nor write them.
TEST(FlatUpdateKernelTest, SlowWeightsLieStillWithoutAFactor) {
  const RadamRule<float> radam = RadamRule<double>{0.9, 0.1, 0.99, 0.01, 1e-5, 0.999, 0.1, 1}.as<float>();
  Problem<float> found(1040), expected(1040);
  Table<RangerRule, float> table;
  table.add({}, found.range(0, 1040));
  for (const float factor : {0.0F, 0.5F, 0.0F, 0.25F}) {
    table.jobs[0].rule = {radam, factor};
    table.jobs[0].range.state[2] = factor == 0 ? nullptr : found.third.data();
    table.launch(&kScale);
    apply_plainly(radam, expected, 0, 1040);
    for (std::size_t i = 0; factor > 0 && i < expected.value.size(); ++i) {
      expected.third[i] += factor * (expected.value[i] - expected.third[i]);
      expected.value[i] = expected.third[i];
    }
    found.expect_equal(expected);
  }
}

TEST(FlatUpdateKernelTest, ScalesThatOverflowTheTypeAreNotFinite) {
  const double huge = 1e300;
  Problem<float> found(16);
  Table<SgdRule, float> table;
  table.add({0.1F, 0}, found.range(0, 16));
  table.launch(&huge);
  found.expect_equal(Problem<float>(16));
}

/// Norm of arenas of both types; the launches share partial sums.
struct NormProblem {
  explicit NormProblem(std::int64_t floats, std::int64_t doubles)
      : narrow(floats),
        wide(doubles),
        first_wide(norm_blocks(floats * 4)),
        blocks(first_wide + norm_blocks(doubles * 8)) {
    partial_sums.assign(static_cast<std::size_t>(blocks), std::nan(""));
  }
  double find() {
    double norm = -1;
    const NormUse use{.rule = nullptr, .loss_scale = nullptr, .found = nullptr, .norm = &norm};
    const NormMemory memory{partial_sums.data(), &arrived, blocks};
    add_squares_on_gpu(narrow.gradient.data(), narrow.count, memory, 0, use, nullptr);
    EXPECT_EQ(norm, -1) << "before the last launch";
    add_squares_on_gpu(wide.gradient.data(), wide.count, memory, first_wide, use, nullptr);
    EXPECT_EQ(arrived, 0U);
    return norm;
  }
  double expected() const {
    double sum = 0;
    for (const float gradient : narrow.gradient) sum += double{gradient} * double{gradient};
    for (const double gradient : wide.gradient) sum += gradient * gradient;
    return std::sqrt(sum);
  }

  Problem<float> narrow;
  Problem<double> wide;
  std::int64_t first_wide, blocks;
  std::vector<double> partial_sums;
  unsigned arrived = 0;
};

TEST(NormKernelTest, OfAllArenasInOneOrder) {
  for (const auto& [floats, doubles] : {std::pair{0, 16}, {16, 16}, {8192, 4096}, {40016, 8208}}) {
    NormProblem problem(floats, doubles);
    const double norm = problem.find();
    EXPECT_NEAR(norm, problem.expected(), 1e-13 * problem.expected());
    EXPECT_EQ(problem.find(), norm) << "the counter begins anew";
  }
}

TEST(NormKernelTest, TellsOfGradientsThatAreNotFinite) {
  NormProblem problem(40016, 16);
  problem.narrow.gradient[39000] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(problem.find()));
  problem.narrow.gradient[39000] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(problem.find(), std::numeric_limits<double>::infinity());
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
