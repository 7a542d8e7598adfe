// SPDX-License-Identifier: Apache-2.0
#include "chunk_queue.hpp"

#include <algorithm>
#include <utility>

namespace bunchtrain::data {

ChunkQueue::ChunkQueue(DatasetPtr dataset, std::shared_ptr<const LoaderPlan> plan,
                       const DataLoaderOptions& options, const RankShare& share, std::int64_t epoch,
                       HeldBytes& held)
    : dataset_(std::move(dataset)),
      plan_(std::move(plan)),
      share_(share),
      threads_(options.threads),
      keeps_chunks_(plan_->bytes_of_all() <= options.prefetch_bytes),
      held_(held),
      ahead_epoch_(epoch) {}

EpochBatches& ChunkQueue::batches(std::int64_t epoch) {
  const auto found = epochs_.find(epoch);
  return found != epochs_.end() ? found->second : epochs_.emplace(epoch, plan_->batches(epoch)).first->second;
}

std::vector<std::size_t> ChunkQueue::ranges_from(NextStep step) {
  EpochBatches& of = batches(step.epoch);
  const auto order = of.order().reading_order();
  std::vector<std::size_t> ranges(order.begin(), order.end());
  const std::int64_t begin = of.begin(step.step);
  std::ranges::stable_partition(ranges,
                                [&](std::size_t range) { return of.order().residence(range).last >= begin; });
  return ranges;
}

LoaderChunk& ChunkQueue::chunk(std::int64_t epoch, std::size_t range) {
  const LoaderChunk::Key key{keeps_chunks_ ? 0 : epoch, range};
  auto& chunk = chunks_[key];
  if (!chunk) {
    chunk = std::make_unique<LoaderChunk>(LoaderChunk{.key = key, .plan = std::make_shared<KeptPlan>(range)});
    if (!keeps_chunks_) expiry_.insert({{epoch, batches(epoch).order().residence(range).last}, key});
  }
  return *chunk;
}

void ChunkQueue::want(LoaderChunk& chunk) {
  chunk.state = LoaderChunk::State::wanted;
  wanted_.push_back(&chunk);
}

LoaderChunk* ChunkQueue::next(NextStep step) {
  LoaderChunk* wanted = next_wanted();
  return wanted != nullptr ? wanted : next_ahead(step);
}

LoaderChunk* ChunkQueue::next_wanted() {
  if (wanted_.empty()) return nullptr;
  LoaderChunk* chunk = wanted_.front();
  wanted_.pop_front();
  return chunk;
}

void ChunkQueue::read_ahead_from(std::int64_t epoch) {
  ahead_epoch_ = epoch;
  ahead_index_ = expected_index_ = 0;
}

/// Whether a batch of this rank that is not planned yet needs a range of the epoch that is read ahead.
bool ChunkQueue::is_to_come(std::size_t range, EpochBatches& of, NextStep step) const {
  const auto residence = of.order().residence(range);
  const bool passed = ahead_epoch_ == step.epoch && residence.last < of.begin(step.step);
  return !passed && share_.reads_ahead(residence, of);
}

LoaderChunk* ChunkQueue::next_ahead(NextStep step) {
  if (ahead_epoch_ < step.epoch) read_ahead_from(step.epoch);  // batches have asked for all that was left
  while (ahead_epoch_ <= step.epoch + 1) {
    EpochBatches& of = batches(ahead_epoch_);
    const auto sequence = of.order().reading_order();
    if (ahead_index_ == sequence.size()) {
      read_ahead_from(ahead_epoch_ + 1);
      continue;
    }
    const std::size_t range = sequence[ahead_index_];
    if (!is_to_come(range, of, step)) {
      ++ahead_index_;
      continue;
    }
    if (!held_.has_room_for(plan_->bytes_of(range))) return nullptr;
    ++ahead_index_;
    LoaderChunk& next = chunk(ahead_epoch_, range);
    if (next.state == LoaderChunk::State::absent) return &next;
  }
  return nullptr;
}

/// Enough to keep storage busy, and two for each thread in any case.
std::size_t ChunkQueue::most_expected() const {
  constexpr std::int64_t kBytes = std::int64_t{32} << 20;
  const auto ranges = static_cast<std::int64_t>(dataset_->ranges().size());
  const std::int64_t usual = std::max<std::int64_t>(plan_->bytes_of_all() / ranges, 1);
  return static_cast<std::size_t>(std::max(std::int64_t{2} * threads_, std::min(kBytes / usual, ranges)));
}

std::vector<std::shared_ptr<KeptPlan>> ChunkQueue::expected_next(NextStep step) {
  const auto most = most_expected();
  std::vector<std::shared_ptr<KeptPlan>> plans;
  const auto add = [&](LoaderChunk& chunk) {
    if (!std::exchange(chunk.expected, true) && chunk.state != LoaderChunk::State::ready)
      plans.push_back(chunk.plan);
  };
  for (std::size_t i = 0; i < std::min(most, wanted_.size()); ++i) add(*wanted_[i]);
  if (wanted_.size() >= most || ahead_epoch_ < step.epoch || ahead_epoch_ > step.epoch + 1) return plans;
  EpochBatches& of = batches(ahead_epoch_);
  const auto sequence = of.order().reading_order();
  const std::size_t end = std::min(ahead_index_ + most, sequence.size());
  for (expected_index_ = std::max(expected_index_, ahead_index_); expected_index_ < end; ++expected_index_)
    if (is_to_come(sequence[expected_index_], of, step)) add(chunk(ahead_epoch_, sequence[expected_index_]));
  return plans;
}

void ChunkQueue::expire(NextStep step) {
  const std::pair<std::int64_t, std::int64_t> reached{step.epoch, batches(step.epoch).begin(step.step)};
  while (!expiry_.empty() && expiry_.begin()->first < reached) {
    LoaderChunk& chunk = *chunks_.at(expiry_.begin()->second);
    expiry_.erase(expiry_.begin());
    chunk.expired = true;
    drop_if_unused(chunk);
  }
}

void ChunkQueue::drop_if_unused(LoaderChunk& chunk) {
  if (!chunk.expired || chunk.users > 0 || chunk.state == LoaderChunk::State::reading) return;
  if (chunk.state == LoaderChunk::State::ready) held_.release(plan_->bytes_of(chunk.range()));
  chunks_.erase(chunk.key);
}

}  // namespace bunchtrain::data
