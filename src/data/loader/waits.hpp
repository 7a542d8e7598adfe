// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How long things took, and how long a loader's user waited for batches.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "bunchtrain/data/data_loader.hpp"

namespace bunchtrain::data {

/// Counts by ranges of time that grow by a tenth each, from a microsecond on: any number takes the same memory.
/// Not thread-safe.
class Durations {
 public:
  void add(double seconds) {
    const double place = std::log(std::max(seconds, kShortest) / kShortest) / std::log(kGrowth);
    ++counts_[std::min(static_cast<std::size_t>(place), counts_.size() - 1)];
    ++count_;
    sum_ += seconds;
    longest_ = std::max(longest_, seconds);
  }
  double sum() const noexcept { return sum_; }
  double longest() const noexcept { return longest_; }
  Quantiles quantiles() const { return {.p50 = quantile(0.50), .p99 = quantile(0.99)}; }

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
  double sum_ = 0, longest_ = 0;
};

/// Of one epoch. Not thread-safe.
class LoaderTimes {
 public:
  void add_wait(double seconds) { waits_.add(newest_wait_ = seconds); }
  void add_range(double fetch_seconds, double decode_seconds) {
    fetch_.add(fetch_seconds);
    decode_.add(decode_seconds);
  }
  void add_batch(double assemble_seconds) { assemble_.add(assemble_seconds); }
  /// Only the wait added last belongs to it.
  void begin_epoch() {
    const double newest = newest_wait_;
    *this = {};
    add_wait(newest);
  }
  void tell(LoaderStatistics& statistics) const {
    const Quantiles waits = waits_.quantiles();
    statistics.wait_seconds = waits_.sum();
    statistics.wait_p50 = waits.p50;
    statistics.wait_p99 = waits.p99;
    statistics.longest_wait = waits_.longest();
    statistics.fetch = fetch_.quantiles();
    statistics.decode = decode_.quantiles();
    statistics.assemble = assemble_.quantiles();
  }

 private:
  Durations waits_, fetch_, decode_, assemble_;
  double newest_wait_ = 0;
};

}  // namespace bunchtrain::data
