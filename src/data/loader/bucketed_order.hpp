// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The order of an epoch, rearranged so that the samples of a batch have like lengths.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bunchtrain/data/collation.hpp"
#include "bunchtrain/data/epoch_order.hpp"

namespace bunchtrain::data {

/// How many elements batches take of each sample; 0 of samples that are rows.
struct TakenElements {
  std::span<const std::int64_t> row_splits = {};  ///< empty: rows
  const Collation* collation = nullptr;

  std::int64_t of(std::int64_t sample) const noexcept {
    if (row_splits.empty()) return 0;
    const auto i = static_cast<std::size_t>(sample);
    return collation->taken(row_splits[i + 1] - row_splits[i]);
  }
};

/// Which batches exchange samples; none with one batch.
struct LengthBuckets {
  std::int64_t batch = 1;    ///< samples
  std::int64_t batches = 1;  ///< that follow each other
  std::uint64_t key = 0;     ///< of the order in which they come by length
};

/// An EpochOrder of which so many batches at a time have exchanged their samples by length: a permutation of all
/// samples, the same for any world size and thread count. A sample keeps its position modulo the number of
/// streams, so that each stream remains with its rank. Not thread-safe: keeps the batches looked at last.
class BucketedOrder {
 public:
  BucketedOrder(std::shared_ptr<const EpochOrder> order, TakenElements taken, LengthBuckets buckets);

  std::int64_t size() const noexcept { return order_->size(); }
  std::int64_t streams() const noexcept { return order_->streams(); }
  std::int64_t operator[](std::int64_t position) const;
  std::span<const std::size_t> reading_order() const noexcept { return order_->reading_order(); }
  EpochOrder::Residence residence(std::size_t range) const;

 private:
  /// Positions of one group of batches.
  std::int64_t group_size() const noexcept { return buckets_.batch * buckets_.batches; }
  void arrange(std::int64_t first) const;

  std::shared_ptr<const EpochOrder> order_;
  TakenElements taken_;
  LengthBuckets buckets_;
  mutable std::int64_t first_ = -1;  // of the group that is arranged
  mutable std::vector<std::int64_t> samples_;
};

}  // namespace bunchtrain::data
