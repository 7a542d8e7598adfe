// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/roc.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::metrics {
namespace {

struct Sample {
  std::vector<double> scores;
  std::vector<std::uint8_t> is_signal;
  std::vector<double> weights = {};
};

Roc make_roc(const Sample& sample) { return Roc(sample.scores, sample.is_signal, sample.weights); }

/// Scores on a coarse grid, so that ties are frequent.
Sample make_sample(int size, int grid) {
  const CounterRandom random(11, 5);
  Sample sample;
  for (int i = 0; i < size; ++i) {
    const bool signal = random.uniform(3 * i) < 0.4;
    const double shifted = random.uniform(3 * i + 1) + (signal ? 0.3 : 0.0);
    sample.scores.push_back(std::floor(shifted * grid) / grid);
    sample.is_signal.push_back(signal);
    sample.weights.push_back(0.5 + random.uniform(3 * i + 2));
  }
  return sample;
}

/// The definition, pair by pair.
double auc_of_pairs(const Sample& sample) {
  double won = 0, all = 0;
  for (std::size_t s = 0; s < sample.scores.size(); ++s) {
    for (std::size_t b = 0; sample.is_signal[s] && b < sample.scores.size(); ++b) {
      if (sample.is_signal[b]) continue;
      const double weight = sample.weights.empty() ? 1 : sample.weights[s] * sample.weights[b];
      all += weight;
      if (sample.scores[s] > sample.scores[b]) won += weight;
      if (sample.scores[s] == sample.scores[b]) won += weight / 2;
    }
  }
  return won / all;
}

TEST(RocTest, AreaIsTheFractionOfPairsInOrder) {
  for (int grid : {3, 20, 100'000}) {
    Sample sample = make_sample(400, grid);
    EXPECT_NEAR(make_roc(sample).auc(), auc_of_pairs(sample), 1e-12);
    sample.weights.clear();
    EXPECT_NEAR(make_roc(sample).auc(), auc_of_pairs(sample), 1e-12);
  }
}

TEST(RocTest, PerfectUselessAndReversed) {
  EXPECT_EQ(make_roc({{4, 3, 2, 1}, {1, 1, 0, 0}}).auc(), 1.0);
  EXPECT_EQ(make_roc({{1, 1, 1, 1}, {1, 1, 0, 0}}).auc(), 0.5);
  EXPECT_EQ(make_roc({{1, 2, 3, 4}, {1, 1, 0, 0}}).auc(), 0.0);
}

TEST(RocTest, OneSideEmptyHasNoArea) {
  for (const Sample& sample : {Sample{{1, 2}, {1, 1}}, Sample{{1, 2}, {0, 0}}, Sample{{}, {}}}) {
    const Roc roc = make_roc(sample);
    EXPECT_TRUE(std::isnan(roc.auc()));
    EXPECT_TRUE(std::isnan(roc.rejection_at(0.5).value));
    EXPECT_EQ(to_string(roc.rejection_at(0.5)), "-");
    EXPECT_TRUE(roc.thinned(10).empty());
  }
}

TEST(RocTest, RejectionIsTakenAtTheFirstThresholdThatReachesTheTarget) {
  // By descending score: S S B S B S S S S S S S B B B B B B B B; 10 signal, 10 background.
  const Sample sample{{20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1},
                      {1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0}};
  const Roc roc = make_roc(sample);
  const Rejection at_30 = roc.rejection_at(0.3);
  EXPECT_EQ(at_30.threshold, 17);
  EXPECT_DOUBLE_EQ(at_30.signal_efficiency, 0.3);
  EXPECT_DOUBLE_EQ(at_30.value, 10);
  EXPECT_DOUBLE_EQ(at_30.error, 10 * std::sqrt(0.9 / 1));
  EXPECT_EQ(roc.rejection_at(0.31).threshold, 15);
  EXPECT_DOUBLE_EQ(roc.rejection_at(0.31).value, 5);
  EXPECT_DOUBLE_EQ(roc.rejection_at(1).value, 5);
}

TEST(RocTest, NoBackgroundLeftIsALowerLimit) {
  const Roc roc = make_roc({{5, 4, 3, 2, 1}, {1, 1, 0, 0, 0}});
  const Rejection rejection = roc.rejection_at(0.5);
  EXPECT_TRUE(rejection.is_lower_limit);
  EXPECT_EQ(rejection.value, 3);
  EXPECT_EQ(to_string(rejection), "> 3");
}

TEST(RocTest, TiesPassACutTogether) {
  const Rejection rejection = make_roc({{2, 2, 2, 2, 1}, {1, 1, 1, 0, 0}}).rejection_at(0.3);
  EXPECT_DOUBLE_EQ(rejection.signal_efficiency, 1.0);
  EXPECT_DOUBLE_EQ(rejection.value, 2);
}

TEST(RocTest, EqualWeightsChangeNothing) {
  Sample sample = make_sample(500, 1000);
  sample.weights.assign(500, 2.5);
  const Roc weighted = make_roc(sample);
  sample.weights.clear();
  const Roc plain = make_roc(sample);
  EXPECT_NEAR(weighted.auc(), plain.auc(), 1e-12);
  EXPECT_NEAR(weighted.rejection_at(0.5).value, plain.rejection_at(0.5).value, 1e-9);
  EXPECT_NEAR(weighted.rejection_at(0.5).error, plain.rejection_at(0.5).error, 1e-9);
}

TEST(RocTest, ThinningKeepsEndsOrderAndTheSteepStart) {
  const Roc roc = make_roc(make_sample(20'000, 1'000'000));
  const std::vector<RocPoint> points = roc.thinned(100);
  EXPECT_LE(points.size(), 100u);
  EXPECT_GT(points.size(), 60u);
  EXPECT_EQ(points.front().signal_efficiency, 0);
  EXPECT_EQ(points.front().background_efficiency, 0);
  EXPECT_EQ(points.back().signal_efficiency, 1);
  EXPECT_EQ(points.back().background_efficiency, 1);
  int rare = 0;
  for (std::size_t i = 1; i < points.size(); ++i) {
    EXPECT_LT(points[i].threshold, points[i - 1].threshold);
    EXPECT_GE(points[i].signal_efficiency, points[i - 1].signal_efficiency);
    EXPECT_GE(points[i].background_efficiency, points[i - 1].background_efficiency);
    rare += points[i].background_efficiency > 0 && points[i].background_efficiency < 0.01;
  }
  EXPECT_GE(rare, 10);
}

TEST(RocTest, RefusesWhatItCannotUse) {
  EXPECT_THROW(make_roc({{1, 2}, {1}}), ConfigError);
  EXPECT_THROW(make_roc({{1, 2}, {1, 0}, {1}}), ConfigError);
  EXPECT_THROW(make_roc({{1, std::nan("")}, {1, 0}}), ConfigError);
  EXPECT_THROW(make_roc({{1, 2}, {1, 0}, {1, -1}}), ConfigError);
  const Roc roc = make_roc({{1, 2}, {1, 0}});
  for (double efficiency : {0.0, 1.1, std::nan("")}) EXPECT_THROW(roc.rejection_at(efficiency), ConfigError);
  EXPECT_THROW(roc.thinned(3), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::metrics
