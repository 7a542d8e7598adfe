// SPDX-License-Identifier: Apache-2.0
#include "bucketed_order.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "bunchtrain/core/random.hpp"
#include "index_permutation.hpp"

namespace bunchtrain::data {

BucketedOrder::BucketedOrder(std::shared_ptr<const EpochOrder> order, TakenElements taken,
                             LengthBuckets buckets)
    : order_(std::move(order)), taken_(taken), buckets_(buckets) {}

std::int64_t BucketedOrder::operator[](std::int64_t position) const {
  if (buckets_.batches <= 1) return (*order_)[position];
  const std::int64_t first = position / group_size() * group_size();
  if (first != first_) arrange(first);
  return samples_[static_cast<std::size_t>(position - first)];
}

EpochOrder::Residence BucketedOrder::residence(std::size_t range) const {
  EpochOrder::Residence residence = order_->residence(range);
  if (buckets_.batches <= 1) return residence;
  residence.first = residence.first / group_size() * group_size();
  residence.last = std::min((residence.last / group_size() + 1) * group_size(), size()) - 1;
  return residence;
}

/// Of each stream by itself: its samples from the shortest to the longest go to its positions in the batches, which are
/// taken in an order of their own.
void BucketedOrder::arrange(std::int64_t first) const {
  struct Sample {
    std::int64_t elements, id;
  };
  const std::int64_t end = std::min(first + group_size(), size());
  const std::int64_t batches = (end - first - 1) / buckets_.batch + 1;
  const IndexPermutation place(static_cast<std::uint64_t>(batches),
                               mix64(buckets_.key, static_cast<std::uint64_t>(first)));
  samples_.resize(static_cast<std::size_t>(end - first));
  std::vector<Sample> samples;
  std::vector<std::pair<std::uint64_t, std::int64_t>> slots;  // place of the batch, position
  for (std::int64_t stream = 0; stream < std::min(streams(), end - first); ++stream) {
    samples.clear();
    slots.clear();
    for (std::int64_t position = first + stream; position < end; position += streams()) {
      const std::int64_t id = (*order_)[position];
      samples.push_back({taken_.of(id), id});
      slots.emplace_back(place(static_cast<std::uint64_t>((position - first) / buckets_.batch)), position);
    }
    std::ranges::stable_sort(samples, {}, &Sample::elements);
    std::ranges::sort(slots);
    for (std::size_t i = 0; i < slots.size(); ++i)
      samples_[static_cast<std::size_t>(slots[i].second - first)] = samples[i].id;
  }
  first_ = first;
}

}  // namespace bunchtrain::data
