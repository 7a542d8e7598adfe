// SPDX-License-Identifier: Apache-2.0
#include "gamma_distribution.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace bunchtrain::simulate {
namespace {

TEST(IncompleteGammaTest, IsErlangForWholeShapes) {
  for (const int shape : {1, 2, 3, 5, 12}) {
    for (const double x : {1e-6, 0.3, 1.0, 2.5, 6.0, 14.0, 40.0}) {
      double term = std::exp(-x), upper = 0;  // 1 - P = exp(-x) sum x^k / k!
      for (int k = 0; k < shape; ++k, term *= x / k) upper += term;
      EXPECT_NEAR(incomplete_gamma(shape, x), 1 - upper, 1e-12) << shape << ' ' << x;
    }
  }
}

TEST(IncompleteGammaTest, IsTheErrorFunctionForShapeOneHalf) {
  for (const double x : {0.01, 0.7, 1.6, 9.0})
    EXPECT_NEAR(incomplete_gamma(0.5, x), std::erf(std::sqrt(x)), 1e-12) << x;
}

TEST(IncompleteGammaTest, GoesFromNoneToAll) {
  EXPECT_EQ(incomplete_gamma(4.2, 0), 0);
  EXPECT_EQ(incomplete_gamma(4.2, -3), 0);
  EXPECT_NEAR(incomplete_gamma(4.2, 500), 1, 1e-12);
}

TEST(GammaVariateTest, HasTheMomentsAndTheDistribution) {
  constexpr int kDraws = 40'000;
  for (const double shape : {0.3, 1.0, 4.5, 60.0}) {
    RandomSequence random(CounterRandom(7, static_cast<std::uint64_t>(shape * 10)));
    double sum = 0, squares = 0;
    int below_shape = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double value = gamma_variate(shape, random);
      ASSERT_GE(value, 0);
      sum += value;
      squares += value * value;
      below_shape += value < shape;
    }
    const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
    const double error = std::sqrt(shape / kDraws);
    EXPECT_NEAR(mean, shape, 5 * error) << shape;
    // The variance of the variance of a gamma distribution is shape (2 shape + 6) per draw.
    EXPECT_NEAR(variance, shape, 5 * std::sqrt(shape * (2 * shape + 6) / kDraws)) << shape;
    EXPECT_NEAR(below_shape / double{kDraws}, incomplete_gamma(shape, shape), 5 * 0.5 / std::sqrt(kDraws));
  }
}

}  // namespace
}  // namespace bunchtrain::simulate
