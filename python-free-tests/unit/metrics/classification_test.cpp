// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/classification.hpp"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::metrics {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

at::Tensor matrix(const std::vector<double>& values, std::int64_t columns) {
  return at::tensor(values, at::kDouble).view({-1, columns});
}
at::Tensor labels(const std::vector<std::int64_t>& values) { return at::tensor(values, at::kLong); }

ClassificationMetrics two_classes() { return ClassificationMetrics({.classes = {"qcd", "top"}}); }

TEST(ClassificationMetricsTest, LogitsGiveTheCrossEntropyAndAccuracy) {
  ClassificationMetrics metrics = two_classes();
  metrics.add_logits(matrix({0, 1, 2, 0, 1, 0}, 2), labels({1, 0, 1}));
  const ClassificationResult result = metrics.compute();
  const double expected = (std::log1p(std::exp(-1)) + std::log1p(std::exp(-2)) + std::log1p(std::exp(1))) / 3;
  EXPECT_NEAR(result.loss, expected, 1e-14);
  EXPECT_DOUBLE_EQ(result.accuracy, 2.0 / 3);
  EXPECT_EQ(result.samples, 3);
  EXPECT_THAT(result.class_counts, ElementsAre(1, 2));
  EXPECT_EQ(result.signals.size(), 1u);
  EXPECT_EQ(result.signals[0].signal, 1);
}

TEST(ClassificationMetricsTest, ProbabilitiesGiveTheSame) {
  ClassificationMetrics logits = two_classes(), scores = two_classes();
  const at::Tensor raw = matrix({0, 1, 2, 0, 1, 0, -3, 4}, 2);
  logits.add_logits(raw, labels({1, 0, 1, 0}));
  scores.add_scores(raw.softmax(1), labels({1, 0, 1, 0}));
  const ClassificationResult a = logits.compute(), b = scores.compute();
  EXPECT_NEAR(a.loss, b.loss, 1e-12);
  EXPECT_EQ(a.accuracy, b.accuracy);
  EXPECT_EQ(a.auc, b.auc);
}

TEST(ClassificationMetricsTest, TheBestJetsKeepTheirOrder) {
  // In float32 both scores round to 1.
  ClassificationMetrics metrics = two_classes();
  metrics.add_logits(matrix({0, 20, 0, 25}, 2).to(at::kFloat), labels({0, 1}));
  EXPECT_EQ(metrics.compute().auc, 1.0);
}

TEST(ClassificationMetricsTest, HugeLogitsDoNotOverflow) {
  ClassificationMetrics metrics = two_classes();
  metrics.add_logits(matrix({1e4, -1e4, 0, 1e4}, 2), labels({1, 1}));
  EXPECT_DOUBLE_EQ(metrics.compute().loss, 1e4);
}

TEST(ClassificationMetricsTest, UnlabelledSamplesAreCountedAndLeftOut) {
  ClassificationMetrics metrics = two_classes();
  metrics.add_logits(matrix({0, 1, 9, 0, 1, 0}, 2), labels({1, -1, 0}));
  const ClassificationResult result = metrics.compute();
  EXPECT_EQ(result.samples, 2);
  EXPECT_EQ(result.unlabelled, 1);
  EXPECT_EQ(result.accuracy, 1.0);
}

TEST(ClassificationMetricsTest, WeightsCount) {
  ClassificationMetrics metrics = two_classes();
  metrics.add_logits(matrix({0, 1, 0, 1}, 2), labels({1, 0}), at::tensor({3.0, 1.0}));
  const ClassificationResult result = metrics.compute();
  EXPECT_DOUBLE_EQ(result.accuracy, 0.75);
  EXPECT_NEAR(result.loss, 0.75 * std::log1p(std::exp(-1)) + 0.25 * std::log1p(std::exp(1)), 1e-14);
}

TEST(ClassificationMetricsTest, SeveralClassesAgainstTheRestAndEachOther) {
  ClassificationMetrics metrics({.classes = {"a", "b", "c"}});
  metrics.add_scores(matrix({.7, .2, .1, .3, .5, .2, .1, .2, .7, .4, .1, .5}, 3), labels({0, 1, 2, 0}));
  const ClassificationResult result = metrics.compute();
  ASSERT_EQ(result.signals.size(), 9u);
  EXPECT_EQ(result.signals[0].background, -1);
  EXPECT_EQ(result.signals[1].signal, 0);
  EXPECT_EQ(result.signals[1].background, 1);
  EXPECT_EQ(result.signals[2].background, 2);
  EXPECT_EQ(result.signals[0].auc, 1.0);
  EXPECT_EQ(result.signals[3].auc, 1.0);
  EXPECT_NEAR(result.auc, 1.0, 1e-12);
  EXPECT_DOUBLE_EQ(result.accuracy, 0.75);
  EXPECT_EQ(result.distributions.size(), 3u);
}

TEST(ClassificationMetricsTest, AClassPairIsJudgedByTheRatioOfItsScores) {
  // Against class 1 alone the second jet is the more signal-like, although its score is smaller.
  ClassificationMetrics metrics({.classes = {"s", "b", "other"}, .signals = {0}});
  metrics.add_scores(matrix({.5, .4, .1, .2, .05, .75}, 3), labels({1, 0}));
  const ClassificationResult result = metrics.compute();
  EXPECT_EQ(result.signals[0].auc, 0.0);
  EXPECT_EQ(result.signals[1].auc, 1.0);
}

TEST(ClassificationMetricsTest, DistributionsHoldEverySampleOnce) {
  ClassificationMetrics metrics({.classes = {"qcd", "top"}, .histogram_bins = 4});
  metrics.add_scores(matrix({1, 0, .75, .25, .5, .5, 0, 1}, 2), labels({0, 0, 1, 1}));
  const ScoreDistribution distribution = metrics.compute().distributions.at(0);
  EXPECT_EQ(distribution.score, 1);
  EXPECT_THAT(distribution.counts[0], ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(distribution.counts[1], ElementsAre(0, 0, 1, 1));
}

TEST(ClassificationMetricsTest, ResetForgets) {
  ClassificationMetrics metrics = two_classes();
  metrics.add_logits(matrix({0, 1}, 2), labels({0}));
  EXPECT_EQ(metrics.size(), 1);
  metrics.reset();
  EXPECT_EQ(metrics.size(), 0);
  const ClassificationResult empty = metrics.compute();
  EXPECT_EQ(empty.samples, 0);
  EXPECT_TRUE(std::isnan(empty.loss));
  EXPECT_TRUE(std::isnan(empty.auc));
}

TEST(ClassificationMetricsTest, TheRejectionIsFoundByItsEfficiency) {
  ClassificationMetrics metrics = two_classes();
  metrics.add_logits(matrix({0, 1, 1, 0}, 2), labels({1, 0}));
  const ClassificationResult result = metrics.compute();
  EXPECT_EQ(to_string(result.rejection(0.5)), "> 1");
  try {
    result.rejection(0.4);
    FAIL() << "an efficiency that was not computed was found";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("0.3, 0.5, 0.7"));
  }
}

TEST(ClassificationMetricsTest, RefusesBadLabelsAndScores) {
  ClassificationMetrics metrics = two_classes();
  try {
    metrics.add_logits(matrix({0, 1, 1, 0, 0, 0}, 2), labels({1, 2, 7}));
    FAIL() << "a label outside the classes was accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("2 of 3 samples have a label outside the 2 classes, the first one is 2"));
  }
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_THROW(metrics.add_logits(matrix({0, std::nan("")}, 2), labels({0})), DataError);
  EXPECT_THROW(metrics.add_logits(matrix({infinity, 0}, 2), labels({0})), DataError);
  EXPECT_THROW(metrics.add_logits(matrix({0, 1, 2}, 3), labels({0})), ConfigError);
  EXPECT_THROW(metrics.add_logits(matrix({0, 1}, 2), labels({0, 1})), ConfigError);
  EXPECT_THROW(metrics.add_logits(matrix({0, 1}, 2), labels({0}), matrix({1, 1}, 1)), ConfigError);
  EXPECT_EQ(metrics.size(), 0);
}

TEST(ClassificationMetricsTest, RefusesBadOptions) {
  const std::vector<std::string> two{"a", "b"};
  EXPECT_THROW(ClassificationMetrics({.classes = {"only"}}), ConfigError);
  EXPECT_THROW(ClassificationMetrics({.classes = two, .signals = {2}}), ConfigError);
  EXPECT_THROW(ClassificationMetrics({.classes = two, .signal_efficiencies = {0.0}}), ConfigError);
  EXPECT_THROW(ClassificationMetrics({.classes = two, .max_roc_points = 2}), ConfigError);
  EXPECT_THROW(ClassificationMetrics({.classes = two, .histogram_bins = 0}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::metrics
