// SPDX-License-Identifier: Apache-2.0
// Confusion matrix, reliability and efficiencies, against numbers worked out by hand.

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/metrics/efficiency.hpp"

namespace bunchtrain::metrics {
namespace {

using testing::ElementsAre;

at::Tensor matrix(const std::vector<double>& values, std::int64_t columns) {
  return at::tensor(values, at::kDouble).view({-1, columns});
}
at::Tensor labels(const std::vector<std::int64_t>& values) { return at::tensor(values, at::kLong); }

TEST(EstimateTest, AProportionHasWilsonsError) {
  const Estimate half = proportion(50, 100);
  EXPECT_DOUBLE_EQ(half.value, 0.5);
  EXPECT_NEAR(half.error, std::sqrt(0.25 / 100 + 1.0 / (4 * 100 * 100)) / 1.01, 1e-15);
  EXPECT_NEAR(proportion(3, 3).error, std::sqrt(1.0 / 36) / (1 + 1.0 / 3), 1e-15) << "not 0 where all pass";
  EXPECT_TRUE(std::isnan(proportion(0, 0).value));
  // Four samples of weight 1 and one of weight 4 are 64 / 20 = 3.2 samples.
  EXPECT_NEAR(proportion(4, 8, 20).error, std::sqrt(0.25 / 3.2 + 1 / (4 * 3.2 * 3.2)) / (1 + 1 / 3.2), 1e-15);
}

TEST(EstimateTest, ShowsTwoDigitsOfTheError) {
  EXPECT_EQ(to_string(Estimate{0.91234, 0.0031}), "0.9123 ± 0.0031");
  EXPECT_EQ(to_string(Estimate{123.4, 31}), "123 ± 31");
  EXPECT_EQ(to_string(Estimate{2, 0}), "2.0000 ± 0.0000");
  EXPECT_EQ(to_percent({0.912, 0.0031}), "91.20 ± 0.31 %");
  EXPECT_EQ(to_string(Estimate{std::nan(""), std::nan("")}), "-");
  EXPECT_EQ(to_percent({std::nan(""), 0}), "-");
  EXPECT_EQ(to_string(Estimate{0.25, std::nan("")}), "0.25");
}

TEST(ConfusionMatrixTest, CountsEachTrueClassByItsLargestScore) {
  ClassificationMetrics metrics({.classes = {"a", "b", "c"}});
  metrics.add_scores(matrix({.7, .2, .1, .3, .5, .2, .1, .2, .7, .4, .1, .5, .9, .1, 0}, 3),
                     labels({0, 1, 2, 0, -1}));
  const ConfusionMatrix confusion = metrics.compute().confusion;
  EXPECT_THAT(confusion.counts[0], ElementsAre(1, 0, 1));
  EXPECT_THAT(confusion.counts[1], ElementsAre(0, 1, 0));
  EXPECT_THAT(confusion.counts[2], ElementsAre(0, 0, 1));
  EXPECT_DOUBLE_EQ(confusion.fractions[0][2].value, 0.5);
  EXPECT_DOUBLE_EQ(confusion.fractions[0][2].error, proportion(1, 2).error);
}

TEST(ConfusionMatrixTest, SumsWeightsAndHasNoFractionOfAnAbsentClass) {
  ClassificationMetrics metrics({.classes = {"a", "b"}});
  metrics.add_scores(matrix({.9, .1, .2, .8}, 2), labels({0, 0}), at::tensor({3.0, 1.0}));
  const ConfusionMatrix confusion = metrics.compute().confusion;
  EXPECT_THAT(confusion.counts[0], ElementsAre(3, 1));
  EXPECT_DOUBLE_EQ(confusion.fractions[0][0].value, 0.75);
  EXPECT_DOUBLE_EQ(confusion.fractions[0][0].error, proportion(3, 4, 10).error);
  EXPECT_TRUE(std::isnan(confusion.fractions[1][0].value));
}

TEST(CalibrationTest, ComparesScoresWithFractions) {
  ClassificationMetrics metrics({.classes = {"a", "b"}, .calibration_bins = 2});
  metrics.add_scores(matrix({.9, .1, .7, .3, .4, .6, .2, .8}, 2), labels({0, 1, 1, 1}));
  const auto result = metrics.compute();
  ASSERT_EQ(result.calibrations.size(), 2U);
  const Calibration &largest = result.calibrations[0], &signal = result.calibrations[1];
  EXPECT_EQ(largest.score, -1);
  ASSERT_EQ(largest.bins.size(), 1U) << "the largest of two scores is above one half";
  EXPECT_DOUBLE_EQ(largest.bins[0].score, (.9 + .7 + .6 + .8) / 4);
  EXPECT_DOUBLE_EQ(largest.bins[0].fraction.value, 0.75);
  EXPECT_NEAR(largest.expected_error.value, 0, 1e-15);
  EXPECT_EQ(signal.score, 1);
  ASSERT_EQ(signal.bins.size(), 2U);
  EXPECT_DOUBLE_EQ(signal.bins[0].score, 0.2);
  EXPECT_DOUBLE_EQ(signal.bins[0].fraction.value, 0.5);
  EXPECT_DOUBLE_EQ(signal.bins[1].score, 0.7);
  EXPECT_DOUBLE_EQ(signal.bins[1].fraction.value, 1);
  EXPECT_NEAR(signal.expected_error.value, 0.5 * 0.3 + 0.5 * 0.3, 1e-15);
  EXPECT_NEAR(signal.expected_error.error, std::hypot(proportion(1, 2).error, proportion(2, 2).error) / 2,
              1e-15);
}

TEST(CalibrationTest, ScoresThatAreProbabilitiesAreCalibrated) {
  const CounterRandom random(5, 1);
  ClassificationMetrics metrics({.classes = {"a", "b"}});
  std::vector<double> scores;
  std::vector<std::int64_t> truth;
  for (std::int64_t i = 0; i < 20'000; ++i) {
    const double score = random.uniform(2 * i);
    scores.insert(scores.end(), {1 - score, score});
    truth.push_back(random.uniform(2 * i + 1) < score ? 1 : 0);
  }
  metrics.add_scores(matrix(scores, 2), labels(truth));
  const Estimate error = metrics.compute().calibrations.at(1).expected_error;
  EXPECT_LT(error.value, 0.015);
  EXPECT_GT(error.error, 0.0005);
  EXPECT_LT(error.error, 0.01);
}

TEST(CalibrationTest, NothingOfNothing) {
  ClassificationMetrics metrics({.classes = {"a", "b"}});
  const auto result = metrics.compute();
  EXPECT_TRUE(result.calibrations.at(0).bins.empty());
  EXPECT_TRUE(std::isnan(result.calibrations.at(0).expected_error.value));
  EXPECT_THROW(ClassificationMetrics({.classes = {"a", "b"}, .calibration_bins = 0}), ConfigError);
}

TEST(EfficiencyTest, CountsWhatPassesInBinsOfEqualNumbers) {
  // The cut at half of the signal is 0.6; pT is 1 to 8.
  const std::vector<double> pt = {1, 2, 3, 4, 5, 6, 7, 8}, scores = {.1, .6, .2, .9, .5, .7, .3, .4};
  const std::vector<std::uint8_t> is_signal = {0, 1, 0, 1, 1, 0, 0, 1};
  const EfficiencyCurve curve = efficiency_against(pt, scores, is_signal, {.working_point = 0.5, .bins = 2});
  EXPECT_DOUBLE_EQ(curve.threshold, 0.6);
  EXPECT_DOUBLE_EQ(curve.signal.value, 0.5);
  EXPECT_DOUBLE_EQ(curve.background.value, 0.25);
  ASSERT_EQ(curve.bins.size(), 2U);
  EXPECT_EQ(curve.bins[0].low, 1);
  EXPECT_EQ(curve.bins[0].high, 5);
  EXPECT_EQ(curve.bins[1].high, 8);
  EXPECT_EQ(curve.bins[0].num_signal, 2);
  EXPECT_EQ(curve.bins[0].signal.value, 1);
  EXPECT_EQ(curve.bins[0].background.value, 0);
  EXPECT_GT(curve.bins[0].background.error, 0);
  EXPECT_EQ(curve.bins[1].signal.value, 0);
  EXPECT_EQ(curve.bins[1].background.value, 0.5);
  EXPECT_EQ(curve.bins[1].num_background, 2);
}

TEST(EfficiencyTest, LeavesOutWhatHasNoQuantity) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const EfficiencyCurve curve =
      efficiency_against(std::vector{nan, infinity, 1.0, 2.0}, std::vector{.9, .8, .7, .1},
                         std::vector<std::uint8_t>{1, 0, 1, 0});
  EXPECT_EQ(curve.left_out, 2);
  ASSERT_EQ(curve.bins.size(), 1U) << "two values are the edges of one bin";
  EXPECT_EQ(curve.bins[0].num_signal, 1);
  EXPECT_EQ(curve.bins[0].num_background, 1);
}

TEST(EfficiencyTest, WithoutOneSideOrWithOneValueThereIsNoCurve) {
  const std::vector<double> one = {1, 1}, two = {1, 2}, scores = {.5, .6};
  EXPECT_TRUE(efficiency_against(one, scores, std::vector<std::uint8_t>{0, 1}).bins.empty());
  const auto signal_only = efficiency_against(two, scores, std::vector<std::uint8_t>{1, 1});
  EXPECT_TRUE(std::isnan(signal_only.threshold));
  EXPECT_TRUE(std::isnan(signal_only.signal.value));
  EXPECT_TRUE(efficiency_against({}, {}, {}).bins.empty());
}

TEST(EfficiencyTest, RefusesWhatDoesNotFit) {
  const std::vector<double> two = {1, 2};
  EXPECT_THROW(efficiency_against(two, std::vector{.5}, std::vector<std::uint8_t>{1, 0}), ConfigError);
  EXPECT_THROW(efficiency_against({}, {}, {}, {.working_point = 0}), ConfigError);
  EXPECT_THROW(efficiency_against({}, {}, {}, {.bins = 0}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::metrics
