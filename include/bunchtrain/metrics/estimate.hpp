// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers with their statistical errors.

#include <string>

namespace bunchtrain::metrics {

/// A number with its statistical error.
struct Estimate {
  double value = 0;
  double error = 0;
};

/// A share of samples: of `all`, `passing` pass, both sums of weights; `all_squared` is the sum of squared
/// weights (`all` if every sample counts 1). The error is half of Wilson's 68.3 % interval, which is not 0
/// where none or all pass. NaN of nothing.
Estimate proportion(double passing, double all, double all_squared) noexcept;
inline Estimate proportion(double passing, double all) noexcept { return proportion(passing, all, all); }

/// "0.9120 ± 0.0031": as many digits as the error has two of; "-" for NaN.
std::string to_string(const Estimate& estimate);
/// "91.20 ± 0.31 %".
std::string to_percent(const Estimate& estimate);

}  // namespace bunchtrain::metrics
