// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/estimate.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace bunchtrain::metrics {
namespace {

/// Digits after the point that show two of the error's.
int digits_for(double error) {
  constexpr int kMost = 6, kWithoutError = 4;
  if (!(error > 0) || std::isinf(error)) return kWithoutError;
  return std::clamp(1 - static_cast<int>(std::floor(std::log10(error))), 0, kMost);
}

std::string with_error(double value, double error) {
  const int digits = digits_for(error);
  return fmt::format("{0:.{2}f} ± {1:.{2}f}", value, error, digits);
}

}  // namespace

Estimate proportion(double passing, double all, double all_squared) noexcept {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  if (!(all > 0) || !(all_squared > 0)) return {kNaN, kNaN};
  const double share = passing / all, samples = all * all / all_squared;  // the effective number
  const double spread = std::max(0.0, share * (1 - share)) / samples;
  const double half = std::sqrt(spread + 1 / (4 * samples * samples)) / (1 + 1 / samples);
  return {share, half};
}

std::string to_string(const Estimate& estimate) {
  if (std::isnan(estimate.value)) return "-";
  if (std::isnan(estimate.error)) return fmt::format("{:.4g}", estimate.value);
  return with_error(estimate.value, estimate.error);
}

std::string to_percent(const Estimate& estimate) {
  if (std::isnan(estimate.value)) return "-";
  return with_error(100 * estimate.value, 100 * estimate.error) + " %";
}

}  // namespace bunchtrain::metrics
