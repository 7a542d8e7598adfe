// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which chunks there are, which is read next, and which ones engines are told of.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "bunchtrain/data/data_loader.hpp"
#include "epoch_batches.hpp"
#include "loader_plan.hpp"
#include "rank_share.hpp"
#include "under_way.hpp"

namespace bunchtrain::data {

/// A chunk is there from the first time that a batch needs it or that it is told of until the order has left its shuffle window
/// and no planned batch needs it. Not thread-safe: under the lock of the pipeline.
class ChunkQueue {
 public:
  /// @param held outlives this
  ChunkQueue(DatasetPtr dataset, std::shared_ptr<const LoaderPlan> plan, const DataLoaderOptions& options,
             const RankShare& share, std::int64_t epoch, HeldBytes& held);

  /// Whether chunks are decoded once and stay.
  bool keeps_chunks() const noexcept { return keeps_chunks_; }
  EpochBatches& batches(std::int64_t epoch);
  /// Nobody asks for batches of epochs before this one any more.
  void forget_before(std::int64_t epoch) { epochs_.erase(epochs_.begin(), epochs_.lower_bound(epoch)); }
  /// All of them, in the order in which this epoch needs them from a step on.
  std::vector<std::size_t> ranges_from(NextStep step);

  LoaderChunk& chunk(std::int64_t epoch, std::size_t range);
  /// To be read before anything is read ahead. @pre it is absent
  void want(LoaderChunk& chunk);
  /// One that a batch waits for, else one to be read ahead while there is room; null: none.
  LoaderChunk* next(NextStep step);
  /// Ranges that the threads will turn to after what they do now, each said once.
  std::vector<std::shared_ptr<KeptPlan>> expected_next(NextStep step);
  /// Marks the chunks that no batch from `step` on needs, and drops those that no planned one does.
  void expire(NextStep step);
  void drop_if_unused(LoaderChunk& chunk);

 private:
  LoaderChunk* next_wanted();
  LoaderChunk* next_ahead(NextStep step);
  void read_ahead_from(std::int64_t epoch);
  bool is_to_come(std::size_t range, EpochBatches& batches, NextStep step) const;
  std::size_t most_expected() const;

  const DatasetPtr dataset_;
  const std::shared_ptr<const LoaderPlan> plan_;
  const RankShare share_;
  const int threads_;
  const bool keeps_chunks_;
  HeldBytes& held_;

  std::map<std::int64_t, EpochBatches> epochs_;
  std::map<LoaderChunk::Key, std::unique_ptr<LoaderChunk>> chunks_;
  std::multimap<std::pair<std::int64_t, std::int64_t>, LoaderChunk::Key> expiry_;  // (epoch, last position)
  std::deque<LoaderChunk*> wanted_;
  std::int64_t ahead_epoch_;
  std::size_t ahead_index_ = 0;
  std::size_t expected_index_ = 0;  // in the reading order of `ahead_epoch_`: told to the engines so far
};

}  // namespace bunchtrain::data
