// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the positions of an epoch are cut into batches: by samples alone, or by a budget of elements.

#include <cstdint>
#include <memory>
#include <vector>

#include "bucketed_order.hpp"

namespace bunchtrain::data {

/// Of one batch over all ranks.
struct BatchLimits {
  std::int64_t samples;
  std::int64_t elements = 0;  ///< 0: by samples alone
};

/// The batches of an epoch, the same on every rank: each takes as many of the next samples as stay within the
/// limits, one at least. With a budget they are cut as far as somebody asks, at 8 bytes each. Not thread-safe.
class EpochBatches {
 public:
  EpochBatches(std::shared_ptr<const EpochOrder> order, TakenElements taken, BatchLimits limits,
               LengthBuckets buckets = {});

  const BucketedOrder& order() const noexcept { return order_; }
  /// Cuts the whole epoch.
  std::int64_t steps();
  /// Position of a step's first sample; all samples for a step behind the last.
  std::int64_t begin(std::int64_t step);
  std::int64_t global_samples(std::int64_t step) { return begin(step + 1) - begin(step); }
  std::int64_t global_elements(std::int64_t step);
  /// The step whose batch has the sample at `position`. @pre 0 <= position < order().size()
  std::int64_t step_at(std::int64_t position);

 private:
  bool by_elements() const noexcept { return limits_.elements > 0; }
  bool complete() const noexcept { return begins_.back() == order_.size(); }
  void cut_next();

  BucketedOrder order_;
  TakenElements taken_;
  BatchLimits limits_;
  std::vector<std::int64_t> begins_ = {0};  ///< of the steps that are cut and of the one behind
};

}  // namespace bunchtrain::data
