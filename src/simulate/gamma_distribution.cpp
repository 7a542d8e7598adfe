// SPDX-License-Identifier: Apache-2.0
#include "gamma_distribution.hpp"

#include <cmath>
#include <limits>

namespace bunchtrain::simulate {
namespace {

constexpr double kPrecision = 1e-12;
constexpr int kMostTerms = 1000;

/// x^shape exp(-x) / Gamma(shape)
double front_factor(double shape, double x) noexcept {
  return std::exp(shape * std::log(x) - x - std::lgamma(shape));
}

/// P by its power series, which converges fast for x < shape + 1.
double lower_series(double shape, double x) noexcept {
  double term = 1 / shape, sum = term;
  for (int n = 1; n < kMostTerms && term > sum * kPrecision; ++n) {
    term *= x / (shape + n);
    sum += term;
  }
  return sum * front_factor(shape, x);
}

/// 1 - P by its continued fraction (modified Lentz), which converges fast for x > shape + 1.
double upper_fraction(double shape, double x) noexcept {
  constexpr double kTiny = std::numeric_limits<double>::min() / kPrecision;
  double b = x + 1 - shape, c = 1 / kTiny, d = 1 / b, fraction = d;
  for (int n = 1; n < kMostTerms; ++n) {
    const double a = -n * (n - shape);
    b += 2;
    d = a * d + b;
    c = b + a / c;
    if (std::abs(d) < kTiny) d = kTiny;
    if (std::abs(c) < kTiny) c = kTiny;
    d = 1 / d;
    fraction *= c * d;
    if (std::abs(c * d - 1) < kPrecision) break;
  }
  return fraction * front_factor(shape, x);
}

}  // namespace

double incomplete_gamma(double shape, double x) noexcept {
  if (x <= 0) return 0;
  return x < shape + 1 ? lower_series(shape, x) : 1 - upper_fraction(shape, x);
}

// Marsaglia and Tsang, "A simple method for generating gamma variables" (2000).
double gamma_variate(double shape, RandomSequence& random) noexcept {
  const double boost = shape < 1 ? std::pow(1 - random.uniform(), 1 / shape) : 1;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double normal = random.normal(), root = 1 + c * normal;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(1 - random.uniform()) < normal * normal / 2 + d * (1 - v + std::log(v)))
      return boost * d * v;
  }
}

}  // namespace bunchtrain::simulate
