// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/shower_statistics.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "bunchtrain/core/error.hpp"
#include "unit/metrics/shower_fixture.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr std::int64_t kShowers = 60;

/// A quantity of a shower, measured by hand.
using Measure = std::function<double(const RandomShowers&, std::int64_t)>;

/// Values of the showers whose energy lies in a bin.
std::vector<double> values_in(const RandomShowers& showers, double low, double high, const Measure& measure) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < showers.size(); ++i) {
    if (showers.primary(i) >= low && showers.primary(i) < high) values.push_back(measure(showers, i));
  }
  return values;
}

void expect_equal(const Estimate& found, const Estimate& expected, const std::string& what) {
  EXPECT_NEAR(found.value, expected.value, 1e-9 * std::abs(expected.value)) << what;
  EXPECT_NEAR(found.error, expected.error, 1e-7 * std::abs(expected.error)) << what;
}

class ShowerStatisticsTest : public testing::Test {
 protected:
  RandomShowers showers_{kShowers};
  ShowerSummary summary_ = statistics_of(showers_).compute("showers");

  /// Compares a quantity in "all" and in every energy bin.
  void expect_everywhere(const std::string& what, Estimate (*found)(const ShowerBinResult&),
                         const Measure& measure) {
    for (const ShowerBinResult& bin : summary_.bins) {
      const auto edge = [&](std::int64_t i) {
        return test_binning().energy_edges[static_cast<std::size_t>(i)];
      };
      const double low = bin.energy_bin < 0 ? 0 : edge(bin.energy_bin);
      const double high = bin.energy_bin < 0 ? 1e9 : edge(bin.energy_bin + 1);
      expect_equal(found(bin), two_pass(values_in(showers_, low, high, measure)), what + " in " + bin.label);
    }
  }
};

TEST_F(ShowerStatisticsTest, CountsShowersPerBin) {
  ASSERT_EQ(summary_.bins.size(), 4U);
  EXPECT_EQ(summary_.bins[0].label, "all");
  EXPECT_EQ(summary_.bins[1].label, "10-20 GeV");
  EXPECT_EQ(summary_.bins[3].label, "35-50 GeV");
  EXPECT_EQ(summary_.showers, kShowers);
  EXPECT_EQ(summary_.bins[1].showers + summary_.bins[2].showers + summary_.bins[3].showers, kShowers);
}

TEST_F(ShowerStatisticsTest, SamplingFraction) {
  const Measure fraction = [](const RandomShowers& showers, std::int64_t i) {
    return cell_sum(showers, i) / showers.primary(i);
  };
  expect_everywhere(
      "sampling fraction", [](const ShowerBinResult& bin) { return bin.fraction; }, fraction);
}

TEST_F(ShowerStatisticsTest, WidthOfTheSamplingFraction) {
  const auto values = values_in(showers_, 0, 1e9, [](const RandomShowers& showers, std::int64_t i) {
    return cell_sum(showers, i) / showers.primary(i);
  });
  const auto n = static_cast<double>(values.size());
  double mean = 0, second = 0, fourth = 0;
  for (double v : values) mean += v / n;
  for (double v : values) {
    second += std::pow(v - mean, 2) / (n - 1);
    fourth += std::pow(v - mean, 4) / n;
  }
  const Estimate width = summary_.bins[0].fraction_width;
  EXPECT_NEAR(width.value, std::sqrt(second), 1e-9 * width.value);
  const double error =
      std::sqrt((fourth - second * second * (n - 3) / (n - 1)) / n) / (2 * std::sqrt(second));
  EXPECT_NEAR(width.error, error, 1e-6 * error);
}

TEST_F(ShowerStatisticsTest, Hits) {
  expect_everywhere(
      "hits", [](const ShowerBinResult& bin) { return bin.hits; },
      [](const RandomShowers& showers, std::int64_t i) {
        double hits = 0;
        for_cells(showers, i, [&](auto, double deposit) { hits += deposit > 2e-4; });
        return hits;
      });
}

TEST_F(ShowerStatisticsTest, MeasuredAngle) {
  expect_everywhere(
      "theta", [](const ShowerBinResult& bin) { return bin.theta; },
      [](const RandomShowers& showers, std::int64_t i) { return showers.angle(i); });
}

TEST_F(ShowerStatisticsTest, Moments) {
  expect_everywhere(
      "first x", [](const ShowerBinResult& bin) { return bin.moments[0][0]; },
      [](const RandomShowers& showers, std::int64_t i) { return moment(showers, i, 0, 1); });
  expect_everywhere(
      "first z", [](const ShowerBinResult& bin) { return bin.moments[2][0]; },
      [](const RandomShowers& showers, std::int64_t i) { return moment(showers, i, 2, 1); });
  expect_everywhere(
      "second y", [](const ShowerBinResult& bin) { return bin.moments[1][1]; },
      [](const RandomShowers& showers, std::int64_t i) { return moment(showers, i, 1, 2); });
  expect_everywhere(
      "second z", [](const ShowerBinResult& bin) { return bin.moments[2][1]; },
      [](const RandomShowers& showers, std::int64_t i) { return moment(showers, i, 2, 2); });
}

TEST_F(ShowerStatisticsTest, Profiles) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const ShowerHistogram& profile = summary_.bins[0].profile[axis];
    ASSERT_EQ(profile.contents.size(), static_cast<std::size_t>(kShape[axis]));
    for (std::size_t bin = 0; bin < profile.contents.size(); ++bin) {
      const auto values = values_in(showers_, 0, 1e9, [&](const RandomShowers& showers, std::int64_t i) {
        double sum = 0;
        for_cells(showers, i, [&](auto place, double deposit) {
          if (place[axis] == static_cast<std::int64_t>(bin)) sum += deposit;
        });
        return sum;
      });
      expect_equal({profile.contents[bin], profile.errors[bin]}, two_pass(values), "profile");
    }
  }
}

TEST_F(ShowerStatisticsTest, CellSpectrum) {
  const ShowerHistogram& spectrum = summary_.bins[0].cell_spectrum;
  ASSERT_EQ(spectrum.contents.size(), 60U);
  EXPECT_NEAR(spectrum.edges.front(), 1e-6, 1e-18);
  EXPECT_NEAR(spectrum.edges.back(), 10, 1e-9);
  for (std::size_t bin = 0; bin < 60; ++bin) {
    const auto values = values_in(showers_, 0, 1e9, [&](const RandomShowers& showers, std::int64_t i) {
      double cells = 0;
      for_cells(showers, i, [&](auto, double deposit) {
        cells += deposit >= spectrum.edges[bin] && deposit < spectrum.edges[bin + 1];
      });
      return cells;
    });
    expect_equal({spectrum.contents[bin], spectrum.errors[bin]}, two_pass(values), "cells");
  }
}

TEST_F(ShowerStatisticsTest, HistogramsHoldEveryShowerOnce) {
  for (const ShowerBinResult& bin : summary_.bins) {
    for (const auto* histogram : {&bin.fraction_histogram, &bin.hit_histogram, &bin.theta_histogram}) {
      double total = 0;
      for (double content : histogram->contents) total += content;
      EXPECT_NEAR(total, 1, 1e-12);
    }
  }
}

TEST_F(ShowerStatisticsTest, MeanImages) {
  const ShowerProjection& side = summary_.bins[0].side_view;
  const ShowerProjection& top = summary_.bins[0].top_view;
  ASSERT_EQ(side.size(), 4U);
  ASSERT_EQ(top.size(), 5U);
  double expected_side = 0, expected_top = 0;
  for (std::int64_t i = 0; i < kShowers; ++i) {
    for_cells(showers_, i, [&](auto place, double deposit) {
      if (place[0] == 1 && place[2] == 3) expected_side += deposit / kShowers;
      if (place[1] == 4 && place[2] == 0) expected_top += deposit / kShowers;
    });
  }
  EXPECT_NEAR(side[1][3], expected_side, 1e-12);
  EXPECT_NEAR(top[4][0], expected_top, 1e-12);
}

TEST_F(ShowerStatisticsTest, Correlations) {
  ASSERT_EQ(summary_.correlated.size(), 8U);
  const auto sums = values_in(showers_, 0, 1e9, cell_sum);
  const auto depths = values_in(showers_, 0, 1e9, [](const RandomShowers& showers, std::int64_t i) {
    return moment(showers, i, 2, 1);
  });
  const double mean_sum = two_pass(sums).value, mean_depth = two_pass(depths).value;
  double both = 0, first = 0, second = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    both += (sums[i] - mean_sum) * (depths[i] - mean_depth);
    first += std::pow(sums[i] - mean_sum, 2);
    second += std::pow(depths[i] - mean_depth, 2);
  }
  EXPECT_EQ(summary_.correlated[4], "first moment z");
  EXPECT_NEAR(summary_.correlation[0][4], both / std::sqrt(first * second), 1e-9);
  EXPECT_DOUBLE_EQ(summary_.correlation[4][0], summary_.correlation[0][4]);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_DOUBLE_EQ(summary_.correlation[i][i], 1);
}

TEST_F(ShowerStatisticsTest, BatchesAddUp) {
  ShowerStatistics parts(CellGeometry::grid(kShape), test_binning());
  for (std::int64_t begin = 0; begin < kShowers; begin += 7) {
    const std::int64_t end = std::min(begin + 7, kShowers);
    parts.add(showers_.cells.slice(0, begin, end), showers_.energy.slice(0, begin, end),
              showers_.theta.slice(0, begin, end), showers_.theta.slice(0, begin, end));
  }
  const ShowerSummary again = parts.compute("again");
  EXPECT_EQ(again.correlation, summary_.correlation);
  for (std::size_t i = 0; i < summary_.bins.size(); ++i) {
    EXPECT_EQ(again.bins[i].profile[2].contents, summary_.bins[i].profile[2].contents);
    EXPECT_EQ(again.bins[i].fraction.error, summary_.bins[i].fraction.error);
  }
}

TEST_F(ShowerStatisticsTest, ExamplesLieInTheMiddleOfTheirBins) {
  ASSERT_TRUE(summary_.examples.defined());
  ASSERT_EQ(summary_.examples.size(0), 3);
  EXPECT_EQ(summary_.examples.sizes(), (std::vector<std::int64_t>{3, 4, 5, 6}));
  double best = 1e9;
  for (std::int64_t i = 0; i < kShowers; ++i) best = std::min(best, std::abs(showers_.primary(i) - 15));
  EXPECT_NEAR(std::abs(summary_.example_energy.const_data_ptr<double>()[0] - 15), best, 1e-6);
}

TEST_F(ShowerStatisticsTest, AngleBins) {
  ShowerBinning binning = test_binning();
  binning.theta_edges = {1.2, 1.6, 2.0};
  const ShowerSummary summary = statistics_of(showers_, binning).compute("showers");
  ASSERT_EQ(summary.bins.size(), 1U + 3U * 3U);
  EXPECT_EQ(summary.bins[2].label, "10-20 GeV, 68.75-91.67 deg");
  const auto angles = summary.angle_bins(1);
  ASSERT_EQ(angles.size(), 2U);
  EXPECT_EQ(angles[0]->showers + angles[1]->showers, summary.energy_bins()[1]->showers);
  EXPECT_LT(angles[0]->theta.value, 1.6);
  EXPECT_GT(angles[1]->theta.value, 1.6);
  EXPECT_NEAR(summary.bins[0].fraction.value, summary_.bins[0].fraction.value, 1e-15);
}

TEST_F(ShowerStatisticsTest, ShowersOutsideAreCountedNotUsed) {
  ShowerBinning binning = test_binning();
  binning.energy_edges = {20, 35};
  const ShowerSummary summary = statistics_of(showers_, binning).compute("showers");
  EXPECT_EQ(summary.showers + summary.outside, kShowers);
  EXPECT_EQ(summary.showers, summary_.bins[2].showers);
  EXPECT_EQ(summary.bins[0].fraction.value, summary_.bins[2].fraction.value);
}

TEST_F(ShowerStatisticsTest, TheLastBinHoldsItsUpperEdge) {
  ShowerStatistics statistics(CellGeometry::grid(kShape), test_binning());
  const RandomShowers one(1);
  statistics.add(one.cells, at::full({1}, 50.0));
  EXPECT_EQ(statistics.compute("one").bins[3].showers, 1);
}

TEST_F(ShowerStatisticsTest, EmptyShowersAreNotInMoments) {
  ShowerStatistics statistics = statistics_of(showers_);
  statistics.add(at::zeros({5, 4, 5, 6}), at::full({5}, 15.0), at::zeros({5}), at::full({5}, 100.0));
  const ShowerSummary summary = statistics.compute("with empty showers");
  EXPECT_EQ(summary.empty, 5);
  EXPECT_EQ(summary.bins[1].showers, summary_.bins[1].showers + 5);
  EXPECT_DOUBLE_EQ(summary.bins[1].moments[2][0].value, summary_.bins[1].moments[2][0].value);
  EXPECT_DOUBLE_EQ(summary.bins[1].theta.value, summary_.bins[1].theta.value);
  EXPECT_LT(summary.bins[1].fraction.value, summary_.bins[1].fraction.value);
}

TEST_F(ShowerStatisticsTest, NoShowersAtAll) {
  const ShowerSummary summary = ShowerStatistics(CellGeometry::grid(kShape), test_binning()).compute("none");
  EXPECT_EQ(summary.showers, 0);
  EXPECT_EQ(summary.bins[0].fraction.value, 0);
  EXPECT_FALSE(summary.examples.defined());
}

TEST_F(ShowerStatisticsTest, RefusesUnsoundCells) {
  for (const float bad :
       {-1e-3F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    RandomShowers damaged(4);
    damaged.cells.data_ptr<float>()[2 * 120 + 5] = bad;
    ShowerStatistics statistics(CellGeometry::grid(kShape), test_binning());
    try {
      statistics.add(damaged.cells, damaged.energy);
      ADD_FAILURE() << bad << " was accepted";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("1 of 4 showers"));
      EXPECT_THAT(error.what(), testing::HasSubstr("shower 2 of the batch"));
    }
    EXPECT_EQ(statistics.compute("nothing").showers, 0);
  }
}

TEST_F(ShowerStatisticsTest, RefusesWrongArguments) {
  ShowerStatistics statistics(CellGeometry::grid({4, 5, 7}), test_binning());
  EXPECT_THROW(statistics.add(showers_.cells, showers_.energy), ConfigError);
  ShowerBinning angles = test_binning();
  angles.theta_edges = {1, 2};
  ShowerStatistics binned(CellGeometry::grid(kShape), angles);
  EXPECT_THROW(binned.add(showers_.cells, showers_.energy), ConfigError);
  ShowerStatistics fine(CellGeometry::grid(kShape), test_binning());
  EXPECT_THROW(fine.add(showers_.cells, at::zeros({kShowers})), DataError);
  EXPECT_THROW(fine.add(showers_.cells, showers_.energy, at::zeros({3})), ConfigError);
}

TEST(ShowerBinningTest, RoundEdges) {
  EXPECT_THAT(ShowerBinning::between(10.02, 99.98).energy_edges, testing::ElementsAre(10, 30, 60, 80, 100));
  EXPECT_THAT(ShowerBinning::between(100, 200, 2).energy_edges, testing::ElementsAre(100, 150, 200));
  EXPECT_THAT(ShowerBinning::between(50, 50).energy_edges, testing::ElementsAre(47.5, 52.5));
  const auto odd = ShowerBinning::between(1.0137, 3.77, 3).energy_edges;
  EXPECT_LE(odd.front(), 1.0137);
  EXPECT_GE(odd.back(), 3.77);
  EXPECT_EQ(odd.size(), 4U);
}

TEST(ShowerBinningTest, RefusesWhatCannotBeBinned) {
  EXPECT_THROW(ShowerBinning::between(0, 10), ConfigError);
  EXPECT_THROW(ShowerBinning::between(20, 10), ConfigError);
  EXPECT_THROW(ShowerBinning::between(10, 20, 0), ConfigError);
  const std::vector<ShowerBinning> wrong = {{},
                                            {.energy_edges = {10}},
                                            {.energy_edges = {10, 10}},
                                            {.energy_edges = {10, std::nan("")}},
                                            {.energy_edges = {10, 20}, .theta_edges = {1}},
                                            {.energy_edges = {10, 20}, .cell_edges = {2, 1}},
                                            {.energy_edges = {10, 20}, .hit_threshold = -1},
                                            {.energy_edges = {10, 20}, .highest_fraction = 0},
                                            {.energy_edges = {10, 20}, .fraction_bins = 0}};
  for (const ShowerBinning& binning : wrong) EXPECT_THROW(binning.validate(), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::metrics
