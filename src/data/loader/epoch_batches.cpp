// SPDX-License-Identifier: Apache-2.0
#include "epoch_batches.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace bunchtrain::data {

EpochBatches::EpochBatches(std::shared_ptr<const EpochOrder> order, TakenElements taken, BatchLimits limits,
                           LengthBuckets buckets)
    : order_(std::move(order), taken, buckets), taken_(taken), limits_(limits) {
  limits_.samples = std::clamp<std::int64_t>(limits_.samples, 1, std::max<std::int64_t>(order_.size(), 1));
}

void EpochBatches::cut_next() {
  const std::int64_t first = begins_.back();
  const std::int64_t most = std::min(first + limits_.samples, order_.size());
  std::int64_t elements = taken_.of(order_[first]);
  std::int64_t end = first + 1;
  for (; end < most; ++end) {
    elements += taken_.of(order_[end]);
    if (elements > limits_.elements) break;
  }
  begins_.push_back(end);
}

std::int64_t EpochBatches::steps() {
  if (!by_elements()) return (order_.size() + limits_.samples - 1) / limits_.samples;
  while (!complete()) cut_next();
  return static_cast<std::int64_t>(begins_.size()) - 1;
}

std::int64_t EpochBatches::begin(std::int64_t step) {
  if (!by_elements()) return std::min(step * limits_.samples, order_.size());
  const auto index = static_cast<std::size_t>(step);
  while (index >= begins_.size() && !complete()) cut_next();
  return begins_[std::min(index, begins_.size() - 1)];
}

std::int64_t EpochBatches::global_elements(std::int64_t step) {
  if (taken_.row_splits.empty()) return 0;
  std::int64_t elements = 0;
  const std::int64_t end = begin(step + 1);
  for (std::int64_t position = begin(step); position < end; ++position)
    elements += taken_.of(order_[position]);
  return elements;
}

std::int64_t EpochBatches::step_at(std::int64_t position) {
  if (!by_elements()) return position / limits_.samples;
  while (begins_.back() <= position) cut_next();
  return std::upper_bound(begins_.begin(), begins_.end(), position) - begins_.begin() - 1;
}

}  // namespace bunchtrain::data
