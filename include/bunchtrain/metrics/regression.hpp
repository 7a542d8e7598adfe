// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Bias, resolution, pull and errors of an estimate of a real number, exact over all ranks.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/metrics/estimate.hpp"

namespace bunchtrain::metrics {

struct RegressionOptions {
  /// Residuals are (estimate - target) / target, as of energies, instead of estimate - target. No target may
  /// be 0 then.
  bool relative = false;
  std::int64_t bins = 10;            ///< of the target, of about equal numbers of samples
  std::int64_t histogram_bins = 50;  ///< of residuals and pulls

  void validate() const;
};

/// What is measured on residuals. NaN where there are too few samples.
struct RegressionSummary {
  std::int64_t samples = 0;
  Estimate bias = {};            ///< mean residual
  Estimate deviation = {};       ///< standard deviation of the residuals: all of them, tails included
  Estimate half_width_68 = {};   ///< half the interval that holds the central 68.27 %: the core
  Estimate absolute_error = {};  ///< mean |residual|
  Estimate squared_error = {};   ///< mean of the residuals' squares
  /// Of (estimate - target) / width, which is a standard Gaussian's if widths are right; NaN without widths.
  Estimate pull_mean = {}, pull_width = {};
};

/// Samples whose target is in [low, high), in the last bin also those at `high`.
struct RegressionBin {
  double low = 0, high = 0;
  RegressionSummary summary = {};
};

/// Numbers of samples in equal bins, and beyond them.
struct RegressionHistogram {
  std::vector<double> edges = {};  ///< n + 1 for n bins; empty without samples
  std::vector<double> counts = {};
  std::int64_t below = 0, above = 0;
};

/// Everything a table, metrics.jsonl and the page need.
struct RegressionResult {
  RegressionSummary summary = {};
  std::vector<RegressionBin> bins = {};
  RegressionHistogram residuals = {};  ///< around their median, five half widths to each side
  RegressionHistogram pulls = {};      ///< from -5 to 5; empty without widths
};

/// Collects estimates of one pass over a data set. Not thread-safe.
class RegressionMetrics {
 public:
  explicit RegressionMetrics(RegressionOptions options = {});

  /// `estimates` and `targets` [B] or [B, 1] floating; `widths` as well, or undefined in all calls. Any device.
  /// @throws DataError for widths that are not positive and for targets that are 0 where residuals are
  /// relative, NotFiniteScores for numbers that are not finite; with the count.
  void add(const at::Tensor& estimates, const at::Tensor& targets, const at::Tensor& widths = {});
  std::int64_t size() const noexcept { return size_; }
  /// Forgets everything, for the next epoch.
  void reset();

  /// Of this rank's samples alone.
  RegressionResult compute() const;
  /// Collective: of the samples of all ranks, each counted once; every rank gets the same result, equal to the
  /// bit for any number of ranks.
  RegressionResult compute(comm::Communicator& communicator) const;

 private:
  at::Tensor all_rows() const;

  RegressionOptions options_;
  std::int64_t size_ = 0;
  bool has_widths_ = false;
  std::vector<at::Tensor> rows_ = {};  ///< [B, 3] float64: target, residual, pull (NaN without widths)
};

}  // namespace bunchtrain::metrics
