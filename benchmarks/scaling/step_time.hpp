// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a scaling run measures.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace scaling {

enum class Mode {
  weak,   ///< the same work per rank, whatever their number
  strong  ///< the same work per step, shared by the ranks
};

/// One point of a curve.
struct Setting {
  Mode mode = Mode::weak;
  int ranks = 1;
  std::int64_t batch = 0;  ///< samples per step, all ranks
};

/// Where one training step goes, mean over an epoch, seconds.
struct StepTime {
  double compute = 0;        ///< forward, backward, update
  double communication = 0;  ///< not hidden behind the backward pass
  double data = 0;           ///< waiting for the loader
  double idle = 0;           ///< the rest: waiting for other ranks, bookkeeping between steps

  double total() const noexcept { return compute + communication + data + idle; }
};

/// All measured epochs of a setting, warm-up excluded.
struct Point {
  Setting setting;
  std::vector<StepTime> epochs;

  /// The epoch with the median step time, so that its parts add up. (The lower one of an even number.)
  StepTime median() const {
    std::vector<StepTime> sorted = epochs;
    std::ranges::sort(sorted, {}, &StepTime::total);
    return sorted.at((sorted.size() - 1) / 2);
  }
  double samples_per_second() const { return static_cast<double>(setting.batch) / median().total(); }
};

}  // namespace scaling
