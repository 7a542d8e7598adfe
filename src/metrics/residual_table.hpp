// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is computed from residuals in rows.

#include <span>

#include "bunchtrain/metrics/regression.hpp"

namespace bunchtrain::metrics {

/// One sample. Pull is NaN where the network gives no width.
struct Residual {
  double target = 0, value = 0, pull = 0;
};

/// The rows' order has no influence on the result.
RegressionResult evaluate(std::vector<Residual> residuals, const RegressionOptions& options);

}  // namespace bunchtrain::metrics
