// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The threads behind a DataLoader: chunks are decoded ahead, batches assembled in order, memory bounded.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "decoding_choice.hpp"
#include "device_decoding.hpp"
#include "device_transfer.hpp"
#include "loader_plan.hpp"
#include "rank_share.hpp"
#include "waits.hpp"

namespace bunchtrain::data {

/// Delivers this rank's batches, epoch after epoch, from a starting step on.
///
/// Any worker does whatever comes next: plan a batch (which samples, which chunks), assemble one whose chunks
/// are there, read a chunk that a planned batch waits for, or read ahead in the order of need while
/// `prefetch_bytes` allow. A chunk is dropped when the order has left its shuffle window; if all samples fit
/// in `prefetch_bytes`, chunks are kept for ever and decoded only once. `take` is for one thread.
class LoaderPipeline {
 public:
  LoaderPipeline(DatasetPtr dataset, std::shared_ptr<const LoaderPlan> plan, const DataLoaderOptions& options,
                 const DecodingChoice& decoding, std::int64_t epoch, std::int64_t step);
  ~LoaderPipeline();
  LoaderPipeline(const LoaderPipeline&) = delete;
  LoaderPipeline& operator=(const LoaderPipeline&) = delete;

  /// The next batch; waits for it. Rethrows what reading its chunks threw, now and at every later call.
  Batch take();
  /// Adds to `statistics` what happened since the last call.
  void collect(LoaderStatistics& statistics);

 private:
  struct Chunk;
  struct PlannedBatch;
  using Lock = std::unique_lock<std::mutex>;
  using ChunkKey = std::pair<std::int64_t, std::size_t>;  // epoch (0 if chunks are kept) and range

  std::vector<std::size_t> ranges_to_come();
  void work(std::stop_token stop) noexcept;
  bool is_there() const;
  void deepen(std::int64_t batch_bytes);
  void wait_for_batch(Lock& lock);
  bool work_once(Lock& lock);
  bool may_plan() const;
  void plan_next();
  void plan_sample(PlannedBatch& planned, std::int64_t sample);
  void need(PlannedBatch& batch, Chunk& chunk);
  PlannedBatch* next_to_assemble();
  void assemble(PlannedBatch& batch, Lock& lock);
  void count_bad(PlannedBatch& batch) const;
  void fill(PlannedBatch& batch) const;
  Chunk* next_to_read();
  bool is_to_come(std::size_t range, EpochBatches& batches) const;
  Chunk* next_to_read_ahead();
  std::size_t expected_ranges() const;
  std::vector<std::size_t> expected_next();
  void read(Chunk& chunk, Lock& lock);
  SampleBlock read_samples(std::size_t range, LoaderStatistics& spent) const;
  SampleBlock read_or_replace(Chunk& chunk, LoaderStatistics& spent) const;
  Chunk& chunk_of(std::int64_t epoch, std::size_t range);
  void expire();
  void drop_if_unused(Chunk& chunk);
  EpochBatches& batches_of(std::int64_t epoch);
  void hold(std::int64_t bytes);
  std::int64_t bytes_of(const PlannedBatch& planned) const;

  const DatasetPtr dataset_;
  const std::shared_ptr<const LoaderPlan> plan_;
  const DataLoaderOptions options_;
  const DeviceTransfer transfer_;
  const std::unique_ptr<const DeviceDecoding> decoding_;  // null: the host decodes
  const RankShare share_;
  const bool keep_chunks_;

  std::mutex mutex_;
  std::condition_variable_any work_there_;
  std::condition_variable batch_there_;
  std::map<std::int64_t, EpochBatches> epochs_;
  std::map<ChunkKey, std::unique_ptr<Chunk>> chunks_;
  std::multimap<std::pair<std::int64_t, std::int64_t>, ChunkKey>
      expiry_;                                       // (epoch, last position) of chunks held
  std::deque<std::unique_ptr<PlannedBatch>> queue_;  // in order of delivery
  std::deque<Chunk*> wanted_;
  std::int64_t plan_epoch_, plan_step_;
  std::int64_t prefetch_batches_;  // made ahead: the more the longer somebody waits
  bool delivers_ = false;          // a batch was waited for
  std::int64_t plan_number_ = 0;
  std::int64_t ahead_epoch_;
  std::size_t ahead_index_ = 0;
  std::size_t expected_index_ = 0;  // in the reading order of `ahead_epoch_`: told to the engines so far
  std::int64_t bytes_held_ = 0;
  LoaderStatistics statistics_;
  LoaderTimes times_;
  std::string first_bad_;
  std::exception_ptr failure_;  // of the pipeline itself: no batch will come any more

  std::vector<std::jthread> workers_;  // last: they end before what they use
};

}  // namespace bunchtrain::data
