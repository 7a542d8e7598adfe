// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The threads behind a DataLoader: chunks are decoded ahead, batches assembled in order, memory bounded.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "batch_assembly.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "chunk_queue.hpp"
#include "decoding_choice.hpp"
#include "device_decoding.hpp"
#include "device_transfer.hpp"
#include "loader_plan.hpp"
#include "range_reader.hpp"
#include "rank_share.hpp"
#include "under_way.hpp"
#include "waits.hpp"

namespace bunchtrain::data {

/// Delivers this rank's batches, epoch after epoch, from a starting step on.
///
/// Any worker does whatever comes next: plan a batch (which samples, which chunks), assemble one whose chunks
/// are there (`BatchAssembly`), read a chunk that a planned batch waits for, or read ahead in the order of need while
/// `prefetch_bytes` allow (`ChunkQueue` says which, `RangeReader` reads it). If all samples fit in `prefetch_bytes`,
/// chunks are kept for ever and decoded only once. `take` is for one thread.
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
  using Lock = std::unique_lock<std::mutex>;

  void work(std::stop_token stop) noexcept;
  bool work_once(Lock& lock);
  bool may_plan() const;
  void plan_next();
  void plan_sample(PlannedBatch& planned, std::int64_t sample);
  void need(PlannedBatch& batch, LoaderChunk& chunk);
  PlannedBatch* next_to_assemble();
  void assemble(PlannedBatch& batch, Lock& lock);
  void read(LoaderChunk& chunk, Lock& lock);
  bool is_there() const;
  void wait_for_batch(Lock& lock);
  void deepen(std::int64_t batch_bytes);
  void count_delivery(const PlannedBatch& planned);

  const DatasetPtr dataset_;
  const std::shared_ptr<const LoaderPlan> plan_;
  const DataLoaderOptions options_;
  const DeviceTransfer transfer_;
  const std::unique_ptr<const DeviceDecoding> decoding_;  // null: the host decodes
  const RankShare share_;
  const RangeReader reader_;
  const BatchAssembly assembly_;

  std::mutex mutex_;
  std::condition_variable_any work_there_;
  std::condition_variable batch_there_;
  HeldBytes held_;
  ChunkQueue chunks_;
  std::deque<std::unique_ptr<PlannedBatch>> queue_;  // in order of delivery
  NextStep next_;
  std::int64_t prefetch_batches_;  // made ahead: the more the longer somebody waits
  bool delivers_ = false;          // a batch was waited for
  std::int64_t plan_number_ = 0;
  LoaderStatistics statistics_;
  LoaderTimes times_;
  std::string first_bad_;
  std::exception_ptr failure_;  // of the pipeline itself: no batch will come any more

  std::vector<std::jthread> workers_;  // last: they end before what they use
};

}  // namespace bunchtrain::data
