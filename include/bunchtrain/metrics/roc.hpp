// SPDX-License-Identifier: Apache-2.0
#pragma once
/// ROC curve, area under it and background rejection from scores; ties are handled exactly.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::metrics {

/// A cut "score >= threshold" and what passes it.
struct RocPoint {
  double threshold = 0;
  double signal_efficiency = 0;
  double background_efficiency = 0;
};

/// Background rejection 1/eB at the first threshold, from above, whose signal efficiency reaches the target.
struct Rejection {
  double target = 0;             ///< signal efficiency asked for
  double signal_efficiency = 0;  ///< of the threshold found
  double threshold = 0;
  double value = 0;             ///< 1/eB; with no background left the number of background samples
  double error = 0;             ///< binomial: value * sqrt((1 - eB) / passing)
  bool is_lower_limit = false;  ///< no background left: the rejection is more than `value`
};

/// "329.9 ± 12.0" or "> 3001".
std::string to_string(const Rejection& rejection);

/// The exact ROC of one signal against one background. Immutable.
///
/// Samples with equal scores pass a cut together, so the curve has one point per distinct score and the area
/// counts a tie as one half (mid-ranks). Weights may be anything finite and not negative; errors then use the
/// effective number of samples.
class Roc {
 public:
  /// `is_signal` and `scores` of the same length; `weights` too, or empty for 1.
  /// @throws ConfigError if lengths differ, a score is NaN or a weight is negative.
  Roc(std::span<const double> scores, std::span<const std::uint8_t> is_signal,
      std::span<const double> weights = {});

  /// Probability that a signal sample scores above a background one; NaN if one side is empty.
  double auc() const noexcept { return auc_; }
  Rejection rejection_at(double signal_efficiency) const;
  /// At most `max_points` of the curve, evenly along it, from (0, 0) to (1, 1); the steep
  /// start is kept for log plots.
  std::vector<RocPoint> thinned(int max_points) const;
  std::int64_t num_signal() const noexcept { return num_signal_; }
  std::int64_t num_background() const noexcept { return num_background_; }

 private:
  struct Step {
    double threshold;
    double signal;  ///< weight passing
    double background;
    double background2;  ///< sum of squared weights
  };
  std::vector<Step> steps_;  ///< thresholds descending
  std::int64_t num_signal_ = 0;
  std::int64_t num_background_ = 0;
  double auc_ = 0;
};

}  // namespace bunchtrain::metrics
