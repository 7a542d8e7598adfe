// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How efficient a cut on a score is for samples of different kinds: against pT, against pile-up.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/metrics/estimate.hpp"

namespace bunchtrain::metrics {

struct EfficiencyOptions {
  double working_point = 0.5;  ///< signal efficiency over all samples, which chooses the cut
  std::int64_t bins = 10;      ///< of about equal numbers of samples

  void validate() const;
};

/// Samples in [low, high), in the last bin also those at `high`.
struct EfficiencyBin {
  double low = 0, high = 0;
  std::int64_t num_signal = 0, num_background = 0;
  Estimate signal = {}, background = {};  ///< what passes the cut; NaN without samples
};

/// The efficiency of "score >= threshold" against a quantity.
struct EfficiencyCurve {
  double threshold = 0;                   ///< NaN if one side has no samples
  Estimate signal = {}, background = {};  ///< over all bins
  std::vector<EfficiencyBin> bins = {};   ///< none if all samples have the same value
  std::int64_t left_out = 0;              ///< samples whose quantity is not finite
};

/// All of one length. The samples' order has no influence on the result.
/// @throws ConfigError if lengths differ, or for options that are out of range.
EfficiencyCurve efficiency_against(std::span<const double> quantity, std::span<const double> scores,
                                   std::span<const std::uint8_t> is_signal,
                                   const EfficiencyOptions& options = {});

}  // namespace bunchtrain::metrics
