// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/regression.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/metrics/classification.hpp"

namespace bunchtrain::metrics {
namespace {

using testing::HasSubstr;

at::Tensor reals(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

/// Energies of 10 to 110 GeV, estimated 2 GeV too high with a width of `width` GeV.
RegressionMetrics gaussian(std::int64_t samples, double width, RegressionOptions options = {}) {
  const CounterRandom random(11, 1);
  std::vector<double> estimates, targets;
  for (std::int64_t i = 0; i < samples; ++i) {
    targets.push_back(10 + 100 * random.uniform(4 * i));
    estimates.push_back(targets.back() + 2 + width * random.normal(4 * i + 1));
  }
  RegressionMetrics metrics(options);
  metrics.add(reals(estimates), reals(targets), reals(std::vector<double>(estimates.size(), width)));
  return metrics;
}

void expect_within(const Estimate& estimate, double truth, double expected_error) {
  EXPECT_NEAR(estimate.value, truth, 4 * expected_error);
  EXPECT_NEAR(estimate.error, expected_error, 0.15 * expected_error);
}

TEST(RegressionMetricsTest, SmallNumbersByHand) {
  RegressionMetrics metrics;
  metrics.add(reals({2, 1, 7}).unsqueeze(1), reals({1, 1, 4}));  // residuals 1, 0, 3
  const RegressionSummary summary = metrics.compute().summary;
  EXPECT_EQ(summary.samples, 3);
  EXPECT_DOUBLE_EQ(summary.bias.value, 4.0 / 3);
  EXPECT_DOUBLE_EQ(summary.deviation.value, std::sqrt((1.0 / 9 + 16.0 / 9 + 25.0 / 9) / 2));
  EXPECT_DOUBLE_EQ(summary.bias.error, summary.deviation.value / std::sqrt(3));
  EXPECT_DOUBLE_EQ(summary.absolute_error.value, 4.0 / 3);
  EXPECT_DOUBLE_EQ(summary.squared_error.value, 10.0 / 3);
  EXPECT_TRUE(std::isnan(summary.pull_mean.value));
}

TEST(RegressionMetricsTest, FindsBiasResolutionAndPullWithTheirErrors) {
  constexpr std::int64_t kSamples = 20'000;
  const RegressionResult result = gaussian(kSamples, 5).compute();
  const double n = kSamples;
  expect_within(result.summary.bias, 2, 5 / std::sqrt(n));
  expect_within(result.summary.deviation, 5, 5 / std::sqrt(2 * n));
  expect_within(result.summary.pull_mean, 0.4, 1 / std::sqrt(n));
  expect_within(result.summary.pull_width, 1, 1 / std::sqrt(2 * n));
  // The error of one end: sqrt(p (1 - p) / n) / density there; the two are correlated by p / (1 - p).
  const double p = 0.158655, density = 0.241971 / 5, end = std::sqrt(p * (1 - p) / n) / density;
  expect_within(result.summary.half_width_68, 5, end * std::sqrt(2 - 2 * p / (1 - p)) / 2);
}

TEST(RegressionMetricsTest, TailsWidenTheDeviationNotTheCore) {
  RegressionMetrics metrics = gaussian(5'000, 5);
  metrics.add(reals({1e4, -1e4}), reals({50, 50}), reals({5, 5}));
  const RegressionResult result = metrics.compute();
  EXPECT_GT(result.summary.deviation.value, 100);
  EXPECT_NEAR(result.summary.half_width_68.value, 5, 0.3);
  EXPECT_EQ(result.residuals.below, 1);
  EXPECT_EQ(result.residuals.above, 1);
  double counted = 2;
  for (const double count : result.residuals.counts) counted += count;
  EXPECT_EQ(counted, 5'002);
}

TEST(RegressionMetricsTest, BinsOfTheTargetHoldEverySampleOnce) {
  const RegressionResult result = gaussian(1'003, 5, {.bins = 7}).compute();
  ASSERT_EQ(result.bins.size(), 7U);
  std::int64_t samples = 0;
  for (std::size_t i = 0; i < result.bins.size(); ++i) {
    samples += result.bins[i].summary.samples;
    EXPECT_NEAR(static_cast<double>(result.bins[i].summary.samples), 1'003.0 / 7, 1.5);
    if (i > 0) {
      EXPECT_EQ(result.bins[i].low, result.bins[i - 1].high);
    }
  }
  EXPECT_EQ(samples, 1'003);
}

TEST(RegressionMetricsTest, RelativeResidualsAreOfTheTarget) {
  RegressionMetrics metrics({.relative = true});
  metrics.add(reals({11, 90}), reals({10, 100}), reals({2, 5}));
  const RegressionSummary summary = metrics.compute().summary;
  EXPECT_DOUBLE_EQ(summary.absolute_error.value, 0.1);
  EXPECT_DOUBLE_EQ(summary.pull_mean.value, (0.5 - 2) / 2) << "in units of the width, relative or not";
}

TEST(RegressionMetricsTest, NothingOfNothingAndLittleOfLittle) {
  RegressionMetrics metrics;
  const RegressionResult none = metrics.compute();
  EXPECT_EQ(none.summary.samples, 0);
  EXPECT_TRUE(std::isnan(none.summary.bias.value));
  EXPECT_TRUE(none.bins.empty());
  EXPECT_TRUE(none.residuals.edges.empty());
  metrics.add(reals({2}), reals({1}));
  const RegressionResult one = metrics.compute();
  EXPECT_EQ(one.summary.bias.value, 1);
  EXPECT_TRUE(std::isnan(one.summary.bias.error));
  EXPECT_TRUE(std::isnan(one.summary.half_width_68.value));
  metrics.reset();
  EXPECT_EQ(metrics.size(), 0);
}

TEST(RegressionMetricsTest, SaysWhatDoesNotFit) {
  RegressionMetrics metrics, relative({.relative = true});
  EXPECT_THROW(metrics.add(reals({1, 2}), reals({1})), ConfigError);
  EXPECT_THROW(metrics.add(reals({std::nan("")}), reals({1})), NotFiniteScores);
  EXPECT_THROW(metrics.add(reals({1}), reals({1}), reals({0})), DataError);
  EXPECT_THROW(relative.add(reals({1}), reals({0})), DataError);
  metrics.add(reals({1}), reals({1}));
  EXPECT_THROW(metrics.add(reals({1}), reals({1}), reals({1})), ConfigError) << "widths for some only";
  EXPECT_THROW(RegressionMetrics({.bins = 0}), ConfigError);
  EXPECT_THROW(RegressionMetrics({.histogram_bins = 0}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::metrics
