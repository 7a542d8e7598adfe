// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/shower_comparison.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/roll.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "support/message_of.hpp"
#include "unit/metrics/shower_fixture.hpp"

namespace bunchtrain::metrics {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ComparedQuantity& find(const ShowerComparison& comparison, const std::string& name,
                             const std::string& bin) {
  for (const ComparedQuantity& quantity : comparison.quantities) {
    if (quantity.name == name && quantity.bin == bin) return quantity;
  }
  throw std::runtime_error("no " + name);
}

/// Showers whose last layers are empty, so that a shift along z by one layer loses nothing.
RandomShowers shiftable(std::int64_t count) {
  RandomShowers showers(count);
  showers.cells.narrow(3, 5, 1).zero_();
  return showers;
}

RandomShowers shifted(const RandomShowers& showers) {
  RandomShowers moved = showers;
  moved.cells = at::roll(showers.cells, 1, 3).contiguous();
  return moved;
}

TEST(ShowerComparisonTest, ASampleEqualsItself) {
  const RandomShowers showers(50);
  const auto comparison =
      compare(statistics_of(showers).compute("reference"), statistics_of(showers).compute("candidate"));
  EXPECT_EQ(comparison.score.total(), 0);
  EXPECT_EQ(comparison.worst_profile, 0);
  EXPECT_EQ(comparison.quantities.size(), 4U * 10U);
  for (const ComparedQuantity& quantity : comparison.quantities) {
    EXPECT_EQ(quantity.relative(), 0) << quantity.name;
    EXPECT_EQ(quantity.pull(), 0) << quantity.name;
  }
  const double tight = 1e-12;
  EXPECT_THAT(violations(comparison, {tight, tight, tight, tight, tight, tight}), IsEmpty());
}

TEST(ShowerComparisonTest, AShiftIsSeen) {
  const RandomShowers showers = shiftable(50);
  const auto comparison = compare(statistics_of(showers).compute("reference"),
                                  statistics_of(shifted(showers)).compute("candidate"));
  for (const ShowerBinResult* bin : comparison.reference.energy_bins()) {
    const ComparedQuantity& depth = find(comparison, "first moment z", bin->label);
    EXPECT_NEAR(depth.candidate.value - depth.reference.value, 1, 1e-9);
    EXPECT_NEAR(depth.pull(), 1 / std::hypot(depth.reference.error, depth.candidate.error), 1e-6);
    EXPECT_NEAR(find(comparison, "second moment z", bin->label).relative(), 0, 1e-9);
    EXPECT_NEAR(find(comparison, "sampling fraction", bin->label).relative(), 0, 1e-12);
  }
  EXPECT_DOUBLE_EQ(comparison.worst_profile, 1);  // nothing is left in the first layer
  EXPECT_THAT(comparison.worst_profile_where, HasSubstr("z = 0, "));
  const auto lines = violations(comparison, {.fraction = 0.01, .profile = 0.1, .moments = 0.05});
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], HasSubstr("profile differs by 100 % at z = 0"));
  EXPECT_THAT(lines[0], HasSubstr("allowed are 10 %"));
  EXPECT_THAT(lines[1], HasSubstr("first moment z differs by"));
}

/// The published scalar in plain loops over the showers of one energy bin.
ShowerScore published_score(const RandomShowers& reference, const RandomShowers& candidate, double low,
                            double high) {
  const auto mean = [&](const RandomShowers& showers, const std::function<double(std::int64_t)>& of) {
    double sum = 0, count = 0;
    for (std::int64_t i = 0; i < showers.size(); ++i) {
      if (showers.primary(i) < low || showers.primary(i) >= high) continue;
      sum += of(i);
      ++count;
    }
    return sum / count;
  };
  ShowerScore score;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (const int order : {1, 2}) {
      const double expected = mean(reference, [&](auto i) { return moment(reference, i, axis, order); });
      const double found = mean(candidate, [&](auto i) { return moment(candidate, i, axis, order); });
      score.moments += std::abs((expected - found) / expected) / 3 / 2;
    }
    for (std::int64_t bin = 0; bin < kShape[axis]; ++bin) {
      const auto content = [&](const RandomShowers& showers, std::int64_t i) {
        double sum = 0;
        for_cells(showers, i, [&](auto place, double deposit) { sum += place[axis] == bin ? deposit : 0; });
        return sum;
      };
      const double expected = mean(reference, [&](auto i) { return content(reference, i); });
      const double found = mean(candidate, [&](auto i) { return content(candidate, i); });
      score.profiles += std::abs((expected - found) / expected) / static_cast<double>(kShape[axis]) / 3;
    }
  }
  const double expected = mean(reference, [&](auto i) { return reference.angle(i); });
  const double found = mean(candidate, [&](auto i) { return candidate.angle(i); });
  score.angle = std::abs((expected - found) / expected);
  return score;
}

TEST(ShowerComparisonTest, PublishedScore) {
  const RandomShowers reference(80, 1), candidate(70, 2);
  const auto comparison =
      compare(statistics_of(reference).compute("reference"), statistics_of(candidate).compute("candidate"));
  ShowerScore expected;
  const std::vector<double> edges = test_binning().energy_edges;
  for (std::size_t bin = 0; bin + 1 < edges.size(); ++bin) {
    const ShowerScore part = published_score(reference, candidate, edges[bin], edges[bin + 1]);
    expected.moments += part.moments / 3;
    expected.profiles += part.profiles / 3;
    expected.angle += part.angle / 3;
  }
  EXPECT_NEAR(comparison.score.moments, expected.moments, 1e-9);
  EXPECT_NEAR(comparison.score.profiles, expected.profiles, 1e-9);
  EXPECT_NEAR(comparison.score.angle, expected.angle, 1e-9);
  EXPECT_NEAR(comparison.score.total(), expected.moments + expected.profiles + expected.angle, 1e-9);
}

TEST(ShowerComparisonTest, WithoutAnglesThatPartIsZero) {
  const RandomShowers reference(80, 1), candidate(70, 2);
  const auto summary = [](const RandomShowers& showers) {
    ShowerStatistics statistics(CellGeometry::grid(kShape), test_binning());
    statistics.add(showers.cells, showers.energy);
    return statistics.compute("showers");
  };
  const auto comparison = compare(summary(reference), summary(candidate));
  EXPECT_EQ(comparison.score.angle, 0);
  EXPECT_GT(comparison.score.profiles, 0);
  EXPECT_FALSE(comparison.reference.example_theta.defined());
}

TEST(ShowerComparisonTest, CollapsedShowersScoreOnePerPart) {
  const RandomShowers reference(40);
  RandomShowers empty(40);
  empty.cells.zero_();
  const auto comparison =
      compare(statistics_of(reference).compute("reference"), statistics_of(empty).compute("empty"));
  EXPECT_DOUBLE_EQ(comparison.score.moments, 1);
  EXPECT_DOUBLE_EQ(comparison.score.profiles, 1);
  EXPECT_DOUBLE_EQ(comparison.score.angle, 1);
}

TEST(ShowerComparisonTest, HistogramsShareBins) {
  const RandomShowers reference(80, 1), candidate(70, 2);
  const auto comparison =
      compare(statistics_of(reference).compute("reference"), statistics_of(candidate).compute("candidate"));
  for (std::size_t i = 0; i < comparison.reference.bins.size(); ++i) {
    const ShowerBinResult& here = comparison.reference.bins[i];
    const ShowerBinResult& there = comparison.candidate.bins[i];
    EXPECT_EQ(here.fraction_histogram.edges, there.fraction_histogram.edges);
    EXPECT_EQ(here.hit_histogram.edges, there.hit_histogram.edges);
    EXPECT_EQ(here.theta_histogram.edges, there.theta_histogram.edges);
    for (const auto* histogram : {&here.fraction_histogram, &there.hit_histogram, &here.theta_histogram}) {
      EXPECT_LE(histogram->contents.size(), 51U);
      double total = 0;
      for (double content : histogram->contents) total += content;
      EXPECT_NEAR(total, 1, 1e-12);
    }
  }
}

TEST(ShowerComparisonTest, AStrayShowerDoesNotStretchTheBins) {
  const RandomShowers showers(600);
  RandomShowers stray = showers;
  stray.cells = showers.cells.clone();
  stray.cells.narrow(0, 0, 1).mul_(0.01);
  const auto of = [&](const RandomShowers& candidate) {
    return compare(statistics_of(showers).compute("a"), statistics_of(candidate).compute("b"))
        .candidate.bins[0];
  };
  const ShowerHistogram without = of(showers).fraction_histogram, with = of(stray).fraction_histogram;
  EXPECT_EQ(with.edges, without.edges);
  EXPECT_GE(with.contents.front(), 1.0 / 600);
  double total = 0;
  for (double content : with.contents) total += content;
  EXPECT_NEAR(total, 1, 1e-12);
}

TEST(ShowerComparisonTest, RefusesAnotherGeometry) {
  const RandomShowers showers(20);
  ShowerStatistics other(CellGeometry::grid({4, 6, 5}), test_binning());
  other.add(showers.cells, showers.energy);
  const std::string message =
      message_of([&] { compare(statistics_of(showers).compute("geant4.h5"), other.compute("gan.h5")); });
  EXPECT_THAT(message, HasSubstr("geant4.h5 and gan.h5 cannot be compared"));
  EXPECT_THAT(message, HasSubstr("grid of 4 x 5 x 6 cells"));
  EXPECT_THAT(message, HasSubstr("grid of 4 x 6 x 5 cells"));
}

TEST(ShowerComparisonTest, RefusesAnotherBinning) {
  const RandomShowers showers(20);
  ShowerBinning other = test_binning();
  other.energy_edges = {10, 50};
  const std::string message = message_of(
      [&] { compare(statistics_of(showers).compute("a"), statistics_of(showers, other).compute("b")); });
  EXPECT_THAT(message, HasSubstr("energy edges 10, 20, 35, 50 GeV"));
  EXPECT_THAT(message, HasSubstr("energy edges 10, 50 GeV"));
}

TEST(ShowerComparisonTest, RefusesACandidateWithoutShowersInABin) {
  const RandomShowers showers(40);
  ShowerStatistics low(CellGeometry::grid(kShape), test_binning());
  low.add(showers.cells, at::full({40}, 15.0));
  const std::string message =
      message_of([&] { compare(statistics_of(showers).compute("a"), low.compute("gan.h5")); });
  EXPECT_THAT(message, HasSubstr("gan.h5 has no shower in 20-35 GeV"));
}

TEST(ShowerComparisonTest, BinsThatTheReferenceDoesNotFillAreLeftOut) {
  const RandomShowers showers(40);
  ShowerStatistics low(CellGeometry::grid(kShape), test_binning());
  low.add(showers.cells, at::full({40}, 15.0));
  const auto comparison = compare(low.compute("a"), statistics_of(showers).compute("b"));
  for (const ComparedQuantity& quantity : comparison.quantities) {
    EXPECT_THAT(quantity.bin, testing::AnyOf("all", "10-20 GeV"));
  }
}

TEST(ShowerComparisonTest, TolerancesNameTheWorstBin) {
  const RandomShowers showers(60);
  RandomShowers weaker = showers;
  weaker.cells = at::mul(showers.cells, 0.9);
  const auto comparison = compare(statistics_of(showers).compute("a"), statistics_of(weaker).compute("b"));
  EXPECT_THAT(violations(comparison, {}), IsEmpty());
  const auto lines = violations(comparison, {.fraction = 0.05, .hits = 1, .theta = 0.01, .score = 0.01});
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], testing::StartsWith("sampling fraction differs by 10 % at "));
  EXPECT_THAT(lines[0], testing::EndsWith("allowed are 5 %"));
  EXPECT_THAT(lines[1], HasSubstr("allowed is 0.01"));
}

}  // namespace
}  // namespace bunchtrain::metrics
