// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How long a loader's user waited for batches.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "bunchtrain/data/data_loader.hpp"

namespace bunchtrain::data {

/// Counts by ranges of time that grow by a tenth each, from a microsecond on: any number of batches takes the same memory.
/// Not thread-safe.
class Waits {
 public:
  void add(double seconds) {
    newest_ = seconds;
    const double place = std::log(std::max(seconds, kShortest) / kShortest) / std::log(kGrowth);
    ++counts_[std::min(static_cast<std::size_t>(place), counts_.size() - 1)];
    ++count_;
    sum_ += seconds;
    longest_ = std::max(longest_, seconds);
  }
  /// Only the wait added last belongs to it.
  void begin_epoch() {
    const double newest = newest_;
    *this = {};
    add(newest);
  }
  void tell(LoaderStatistics& statistics) const {
    statistics.wait_seconds = sum_;
    statistics.wait_p50 = quantile(0.50);
    statistics.wait_p99 = quantile(0.99);
    statistics.longest_wait = longest_;
  }

 private:
  static constexpr double kShortest = 1e-6, kGrowth = 1.1;

  double quantile(double share) const {
    const double wanted = share * static_cast<double>(count_);
    double seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += static_cast<double>(counts_[i]);
      if (seen >= wanted)
        return std::min(kShortest * std::pow(kGrowth, static_cast<double>(i) + 0.5), longest_);
    }
    return longest_;
  }

  std::array<std::int64_t, 256> counts_{};  // up to ten hours
  std::int64_t count_ = 0;
  double sum_ = 0, longest_ = 0, newest_ = 0;
};

}  // namespace bunchtrain::data
