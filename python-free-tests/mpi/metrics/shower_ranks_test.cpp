// SPDX-License-Identifier: Apache-2.0
// Shower statistics of any split over ranks are those of one rank that has all showers.

#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/metrics/shower_comparison.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "unit/metrics/shower_fixture.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr std::int64_t kShowers = 90;

class ShowerRanksTest : public testing::Test {
 protected:
  void TearDown() override { communicator_.close(); }

  ShowerStatistics statistics_of_part(std::int64_t begin, std::int64_t end) const {
    ShowerStatistics statistics(CellGeometry::grid(kShape), test_binning());
    if (begin == end) return statistics;
    const at::Tensor theta = showers_.theta.slice(0, begin, end);
    statistics.add(showers_.cells.slice(0, begin, end), showers_.energy.slice(0, begin, end), theta, theta);
    return statistics;
  }

  void expect_as_on_one_rank(const ShowerSummary& merged) const {
    const auto comparison = compare(statistics_of_part(0, kShowers).compute("one rank"), merged);
    EXPECT_EQ(merged.showers, kShowers);
    EXPECT_LT(comparison.score.total(), 1e-12);
    for (const ComparedQuantity& quantity : comparison.quantities) {
      EXPECT_LT(std::abs(quantity.relative()), 1e-12) << quantity.name;
      EXPECT_NEAR(quantity.candidate.error, quantity.reference.error, 1e-6 * quantity.reference.error)
          << quantity.name;
    }
    const auto& one = comparison.reference;
    for (std::size_t i = 0; i < one.bins.size(); ++i) {
      EXPECT_EQ(one.bins[i].showers, merged.bins[i].showers);
      EXPECT_EQ(one.bins[i].hit_histogram.contents, comparison.candidate.bins[i].hit_histogram.contents);
    }
    for (std::size_t i = 0; i < one.correlation.size(); ++i) {
      EXPECT_NEAR(one.correlation[0][i], merged.correlation[0][i], 1e-9);
    }
  }

  mpi::Environment environment_;
  comm::Communicator communicator_ = comm::Communicator::create(environment_.world(), at::kCPU);
  RandomShowers showers_{kShowers};
};

TEST_F(ShowerRanksTest, UnevenParts) {
  const std::int64_t rank = communicator_.rank(), world = communicator_.size();
  const auto border = [&](std::int64_t r) { return kShowers * r * r / (world * world); };
  expect_as_on_one_rank(
      statistics_of_part(border(rank), border(rank + 1)).compute(communicator_, "all ranks"));
}

TEST_F(ShowerRanksTest, RanksWithoutShowers) {
  const bool has_all = communicator_.rank() == communicator_.size() - 1;
  expect_as_on_one_rank(statistics_of_part(0, has_all ? kShowers : 0).compute(communicator_, "all ranks"));
}

TEST_F(ShowerRanksTest, NoShowersAtAll) {
  EXPECT_EQ(statistics_of_part(0, 0).compute(communicator_, "none").showers, 0);
}

}  // namespace
}  // namespace bunchtrain::metrics
