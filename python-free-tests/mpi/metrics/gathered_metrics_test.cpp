// SPDX-License-Identifier: Apache-2.0
// Any split of the samples over ranks gives the result of one rank that has them all.

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/metrics/regression.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr std::int64_t kSamples = 1000;

void expect_equal(const SignalResult& result, const SignalResult& expected) {
  EXPECT_EQ(result.signal, expected.signal);
  EXPECT_EQ(result.background, expected.background);
  EXPECT_DOUBLE_EQ(result.auc, expected.auc);
  ASSERT_EQ(result.rejections.size(), expected.rejections.size());
  for (std::size_t i = 0; i < result.rejections.size(); ++i) {
    EXPECT_EQ(to_string(result.rejections[i]), to_string(expected.rejections[i]));
    EXPECT_DOUBLE_EQ(result.rejections[i].threshold, expected.rejections[i].threshold);
    EXPECT_DOUBLE_EQ(result.rejections[i].signal_efficiency, expected.rejections[i].signal_efficiency);
    EXPECT_DOUBLE_EQ(result.rejections[i].target, expected.rejections[i].target);
  }
  ASSERT_EQ(result.roc.size(), expected.roc.size());
  for (std::size_t i = 0; i < result.roc.size(); ++i) {
    EXPECT_DOUBLE_EQ(result.roc[i].threshold, expected.roc[i].threshold);
    EXPECT_DOUBLE_EQ(result.roc[i].signal_efficiency, expected.roc[i].signal_efficiency);
    EXPECT_DOUBLE_EQ(result.roc[i].background_efficiency, expected.roc[i].background_efficiency);
  }
}

void expect_same(const Estimate& result, const Estimate& expected) {
  EXPECT_EQ(result.value, expected.value);
  EXPECT_EQ(result.error, expected.error);
}

/// To the bit, however ranks shared the samples.
void expect_same(const Calibration& result, const Calibration& expected) {
  EXPECT_EQ(result.score, expected.score);
  expect_same(result.expected_error, expected.expected_error);
  ASSERT_EQ(result.bins.size(), expected.bins.size());
  for (std::size_t i = 0; i < result.bins.size(); ++i) {
    EXPECT_EQ(result.bins[i].samples, expected.bins[i].samples);
    EXPECT_EQ(result.bins[i].score, expected.bins[i].score);
    EXPECT_EQ(result.bins[i].low, expected.bins[i].low);
    EXPECT_EQ(result.bins[i].high, expected.bins[i].high);
    expect_same(result.bins[i].fraction, expected.bins[i].fraction);
  }
}

void expect_same(const RegressionSummary& result, const RegressionSummary& expected) {
  EXPECT_EQ(result.samples, expected.samples);
  for (const auto quantity :
       {&RegressionSummary::bias, &RegressionSummary::deviation, &RegressionSummary::half_width_68,
        &RegressionSummary::absolute_error, &RegressionSummary::squared_error, &RegressionSummary::pull_mean,
        &RegressionSummary::pull_width})
    expect_same(result.*quantity, expected.*quantity);
}

class GatheredMetricsTest : public testing::Test {
 protected:
  void SetUp() override {
    const CounterRandom random(3, 1);
    for (std::int64_t i = 0; i < kSamples; ++i) {
      const auto label = static_cast<std::int64_t>(random.below(3, 10 * i));
      labels_.data_ptr<std::int64_t>()[i] = label;
      for (int c = 0; c < 3; ++c) {
        logits_.data_ptr<double>()[3 * i + c] = random.normal(10 * i + 1 + c) + (c == label ? 1.0 : 0.0);
      }
    }
  }
  void TearDown() override { communicator_.close(); }

  ClassificationMetrics metrics_of(std::int64_t begin, std::int64_t end) const {
    ClassificationMetrics metrics({.classes = {"a", "b", "c"}});
    if (end > begin) metrics.add_logits(logits_.slice(0, begin, end), labels_.slice(0, begin, end));
    return metrics;
  }

  void expect_as_on_one_rank(const ClassificationResult& result) const {
    const ClassificationResult expected = metrics_of(0, kSamples).compute();
    EXPECT_EQ(result.samples, kSamples);
    EXPECT_EQ(result.class_counts, expected.class_counts);
    EXPECT_DOUBLE_EQ(result.accuracy, expected.accuracy);
    EXPECT_NEAR(result.loss, expected.loss, 1e-13);
    EXPECT_DOUBLE_EQ(result.auc, expected.auc);
    EXPECT_EQ(result.classes, expected.classes);
    EXPECT_EQ(result.unlabelled, expected.unlabelled);
    EXPECT_EQ(result.signals.size(), expected.signals.size());
    for (std::size_t i = 0; i < result.signals.size(); ++i)
      expect_equal(result.signals[i], expected.signals[i]);
    EXPECT_EQ(result.distributions.size(), expected.distributions.size());
    for (std::size_t i = 0; i < result.distributions.size(); ++i) {
      EXPECT_EQ(result.distributions[i].score, expected.distributions[i].score);
      EXPECT_EQ(result.distributions[i].counts, expected.distributions[i].counts);
    }
    EXPECT_EQ(result.confusion.counts, expected.confusion.counts);
    for (std::size_t truth = 0; truth < 3; ++truth)
      for (std::size_t taken = 0; taken < 3; ++taken)
        expect_same(result.confusion.fractions.at(truth).at(taken),
                    expected.confusion.fractions[truth][taken]);
    ASSERT_EQ(result.calibrations.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) expect_same(result.calibrations[i], expected.calibrations[i]);
  }

  /// The first logit as an estimate of the second, with a width.
  RegressionMetrics regression_of(std::int64_t begin, std::int64_t end) const {
    RegressionMetrics metrics({.bins = 4});
    const at::Tensor part = logits_.slice(0, begin, end);
    if (end > begin) metrics.add(part.select(1, 0), part.select(1, 1), part.select(1, 2).abs() + 0.1);
    return metrics;
  }

  void expect_as_on_one_rank(const RegressionResult& result) const {
    const RegressionResult expected = regression_of(0, kSamples).compute();
    expect_same(result.summary, expected.summary);
    ASSERT_EQ(result.bins.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(result.bins[i].low, expected.bins[i].low);
      EXPECT_EQ(result.bins[i].high, expected.bins[i].high);
      expect_same(result.bins[i].summary, expected.bins[i].summary);
    }
    EXPECT_EQ(result.residuals.edges, expected.residuals.edges);
    EXPECT_EQ(result.residuals.counts, expected.residuals.counts);
    EXPECT_EQ(result.residuals.below, expected.residuals.below);
    EXPECT_EQ(result.residuals.above, expected.residuals.above);
    EXPECT_EQ(result.pulls.counts, expected.pulls.counts);
  }

  mpi::Environment environment_;
  comm::Communicator communicator_ = comm::Communicator::create(environment_.world(), at::kCPU);
  at::Tensor logits_ = at::empty({kSamples, 3}, at::kDouble);
  at::Tensor labels_ = at::empty({kSamples}, at::kLong);
};

TEST_F(GatheredMetricsTest, UnevenParts) {
  const std::int64_t rank = communicator_.rank(), world = communicator_.size();
  const auto border = [&](std::int64_t r) { return kSamples * r * r / (world * world); };
  expect_as_on_one_rank(metrics_of(border(rank), border(rank + 1)).compute(communicator_));
  expect_as_on_one_rank(regression_of(border(rank), border(rank + 1)).compute(communicator_));
}

TEST_F(GatheredMetricsTest, RanksWithoutSamples) {
  const bool has_all = communicator_.rank() == communicator_.size() - 1;
  expect_as_on_one_rank(metrics_of(0, has_all ? kSamples : 0).compute(communicator_));
  expect_as_on_one_rank(regression_of(0, has_all ? kSamples : 0).compute(communicator_));
}

TEST_F(GatheredMetricsTest, NoSamplesAtAll) {
  EXPECT_EQ(metrics_of(0, 0).compute(communicator_).samples, 0);
  EXPECT_EQ(regression_of(0, 0).compute(communicator_).summary.samples, 0);
}

}  // namespace
}  // namespace bunchtrain::metrics
