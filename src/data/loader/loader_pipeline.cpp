// SPDX-License-Identifier: Apache-2.0
#include "loader_pipeline.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "io/slab.hpp"
#include "sample_ranges.hpp"

namespace bunchtrain::data {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

constexpr std::chrono::milliseconds kWaitingSlice{50};
constexpr std::string_view kSampleIds = "sample_ids";  // travels to the device with the other tensors

NamedTensors without_rows(const NamedTensors& tensors) {
  NamedTensors empty;
  for (const auto& [name, tensor] : tensors) {
    auto sizes = tensor.sizes().vec();
    sizes[0] = 0;
    empty.set(name, at::empty(sizes, tensor.options()));
  }
  return empty;
}

std::int64_t row_bytes(const at::Tensor& tensor) {
  auto bytes = static_cast<std::int64_t>(tensor.element_size());
  for (std::int64_t axis = 1; axis < tensor.dim(); ++axis) bytes *= tensor.size(axis);
  return bytes;
}

SampleBlock read_contiguous(const Dataset& dataset, std::size_t range) {
  thread_local io::Slab slab;  // not the one of `io::thread_slab`: a dataset may read others while it decodes
  const ReadPlan plan = dataset.plan(range);
  SampleBlock block = dataset.decode(range, slab.fetch(plan));
  NamedTensors tensors;
  for (const auto& [name, tensor] : block.tensors) tensors.set(name, tensor.contiguous());
  block.tensors = std::move(tensors);
  return block;
}

}  // namespace

struct LoaderPipeline::Chunk {
  enum class State { absent, wanted, reading, ready };
  ChunkKey key;
  std::size_t range = 0;
  State state = State::absent;
  SampleBlock block;
  std::exception_ptr error;
  std::vector<PlannedBatch*> waiting;
  std::int64_t users = 0;      // planned batches not yet assembled
  std::int64_t last_plan = 0;  // number of the last batch planned that needs it
  bool expired = false;        // no batch to come needs it
};

struct LoaderPipeline::PlannedBatch {
  enum class State { planned, assembling, ready };
  struct Row {
    Chunk* chunk;
    std::int64_t row;
  };
  std::vector<Row> rows;
  std::vector<std::int64_t> ids;
  std::vector<Chunk*> chunks;  // distinct
  std::size_t missing = 0;
  State state = State::planned;
  Batch batch;
  DeviceTransfer::Pending pending;
  std::exception_ptr error;
};

LoaderPipeline::LoaderPipeline(DatasetPtr dataset, const DataLoaderOptions& options, std::int64_t epoch,
                               std::int64_t step)
    : dataset_(std::move(dataset)),
      options_(options),
      transfer_(options.device),
      share_{.samples = dataset_->size(),
             .global_batch = options.global_batch,
             .rank = options.rank,
             .world = options.world_size,
             .strided = options.shuffle},
      plan_epoch_(epoch),
      plan_step_(step),
      ahead_epoch_(epoch) {
  const auto ranges = dataset_->ranges();
  const auto filled =
      std::find_if(ranges.begin(), ranges.end(), [](const SampleRange& r) { return r.count > 0; });
  prototype_ = without_rows(dataset_->read(static_cast<std::size_t>(filled - ranges.begin())).tensors);
  for (const auto& [name, tensor] : prototype_) sample_bytes_ += row_bytes(tensor);
  keep_chunks_ = sample_bytes_ * share_.samples <= options_.prefetch_bytes;
  order_options_ = choose_order(ranges, sample_bytes_, options_.global_batch);
  order_options_.seed = options_.seed;
  order_options_.shuffle = options_.shuffle;
  options_.logger.info(describe());
  for (int i = 0; i < options_.threads; ++i)
    workers_.emplace_back([this](std::stop_token stop) { work(stop); });
}

std::string LoaderPipeline::describe() const {
  constexpr double kMebibyte = 1 << 20;
  const double all = static_cast<double>(sample_bytes_ * share_.samples) / kMebibyte;
  const double bound = static_cast<double>(options_.prefetch_bytes) / kMebibyte;
  const std::string order = options_.shuffle
                                ? fmt::format("{} streams, shuffle window {} samples", order_options_.streams,
                                              std::min(order_options_.window_samples, share_.samples))
                                : "stored order";
  const std::string memory =
      keep_chunks_ ? fmt::format("decoded once and kept ({:.0f} MiB)", all)
                   : fmt::format("decoded every epoch ({:.0f} MiB), at most {:.0f} MiB ahead", all, bound);
  return fmt::format("loader: {} samples, {}, {}, {} thread{}", share_.samples, order, memory,
                     options_.threads, options_.threads == 1 ? "" : "s");
}

LoaderPipeline::~LoaderPipeline() {
  for (auto& worker : workers_) worker.request_stop();
}

Batch LoaderPipeline::take() {
  const auto begin = Clock::now();
  Lock lock(mutex_);
  wait_for_batch(lock);
  statistics_.wait_seconds += seconds_since(begin);
  if (failure_) std::rethrow_exception(failure_);
  if (batches_.front()->error)
    std::rethrow_exception(batches_.front()->error);  // stays in front: the loader has ended

  const auto planned = std::move(batches_.front());
  batches_.pop_front();
  ++statistics_.batches;
  bytes_held_ -= bytes_of(*planned);
  work_there_.notify_all();
  lock.unlock();

  Batch batch = std::move(planned->batch);
  for (auto& [name, tensor] : transfer_.finish(std::move(planned->pending))) {
    if (name == kSampleIds) {
      batch.sample_ids = tensor;
    } else {
      batch.tensors.set(name, tensor);
    }
  }
  return batch;
}

void LoaderPipeline::wait_for_batch(Lock& lock) {
  const auto there = [this] {
    return failure_ || (!batches_.empty() && batches_.front()->state == PlannedBatch::State::ready);
  };
  if (!options_.while_waiting) return batch_there_.wait(lock, there);
  while (!batch_there_.wait_for(lock, kWaitingSlice, there)) {
    lock.unlock();
    options_.while_waiting();
    lock.lock();
  }
}

void LoaderPipeline::collect(LoaderStatistics& statistics) {
  const Lock lock(mutex_);
  statistics.wait_seconds += statistics_.wait_seconds;
  statistics.decode_seconds += statistics_.decode_seconds;
  statistics.batches += statistics_.batches;
  statistics.bytes_peak = std::max(statistics.bytes_peak, statistics_.bytes_peak);
  statistics_ = {};
}

// An exception that no batch carries (no memory to plan the next one) ends the pipeline, not the process.
void LoaderPipeline::work(std::stop_token stop) noexcept {
  Lock lock(mutex_);
  try {
    while (!stop.stop_requested() && !failure_) {
      if (work_once(lock)) continue;
      bool there = false;
      work_there_.wait(lock, stop,
                       [&] { return std::exchange(there, true); });  // any notification ends the wait
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    failure_ = std::current_exception();
  }
  if (!failure_) return;
  batch_there_.notify_all();
  work_there_.notify_all();
}

// Does one piece of work; false if there is none. The lock is held on entry and exit, not
// while decoding or copying.
bool LoaderPipeline::work_once(Lock& lock) {
  if (may_plan()) {
    plan_next();
    work_there_.notify_all();
    return true;
  }
  if (PlannedBatch* batch = next_to_assemble()) {
    assemble(*batch, lock);
    return true;
  }
  Chunk* chunk = next_to_read();
  if (chunk == nullptr) chunk = next_to_read_ahead();
  if (chunk == nullptr) return false;
  read(*chunk, lock);
  return true;
}

bool LoaderPipeline::may_plan() const {
  return static_cast<std::int64_t>(batches_.size()) < options_.prefetch_batches;
}

void LoaderPipeline::plan_next() {
  if (plan_step_ == share_.steps()) {
    ++plan_epoch_;
    plan_step_ = 0;
    orders_.erase(orders_.begin(), orders_.lower_bound(plan_epoch_));
  }
  const auto order = order_of(plan_epoch_);
  const auto positions = share_.positions(plan_step_);
  auto planned = std::make_unique<PlannedBatch>();
  ++plan_number_;
  planned->batch.epoch = plan_epoch_;
  planned->batch.step = plan_step_;
  planned->batch.global_samples = share_.global_samples(plan_step_);
  for (std::int64_t i = 0; i < positions.count; ++i) {
    const std::int64_t sample = (*order)[positions.first + i * positions.stride];
    const std::size_t range = find_range(dataset_->ranges(), sample);
    Chunk& chunk = chunk_of(plan_epoch_, range);
    need(*planned, chunk);
    planned->rows.push_back({&chunk, sample - dataset_->ranges()[range].first});
    planned->ids.push_back(sample);
  }
  batches_.push_back(std::move(planned));
  ++plan_step_;
  expire();
}

void LoaderPipeline::need(PlannedBatch& batch, Chunk& chunk) {
  if (std::exchange(chunk.last_plan, plan_number_) == plan_number_) return;
  batch.chunks.push_back(&chunk);
  ++chunk.users;
  if (chunk.state == Chunk::State::ready) return;
  ++batch.missing;
  chunk.waiting.push_back(&batch);
  if (chunk.state != Chunk::State::absent) return;
  chunk.state = Chunk::State::wanted;
  wanted_.push_back(&chunk);
}

LoaderPipeline::PlannedBatch* LoaderPipeline::next_to_assemble() {
  for (const auto& batch : batches_)
    if (batch->state == PlannedBatch::State::planned && batch->missing == 0) return batch.get();
  return nullptr;
}

void LoaderPipeline::assemble(PlannedBatch& batch, Lock& lock) {
  batch.state = PlannedBatch::State::assembling;
  hold(bytes_of(batch));
  lock.unlock();
  try {
    for (const Chunk* chunk : batch.chunks)
      if (chunk->error) std::rethrow_exception(chunk->error);
    fill(batch);
  } catch (...) {
    batch.error = std::current_exception();
  }
  lock.lock();
  batch.state = PlannedBatch::State::ready;
  for (Chunk* chunk : std::exchange(batch.chunks, {})) {
    --chunk->users;
    drop_if_unused(*chunk);
  }
  batch_there_.notify_one();
  work_there_.notify_all();
}

// Gathers the rows in the order of the batch: one copy per row and tensor.
void LoaderPipeline::fill(PlannedBatch& planned) const {
  const auto count = static_cast<std::int64_t>(planned.rows.size());
  NamedTensors host;
  for (const auto& [name, prototype] : prototype_) {
    auto sizes = prototype.sizes().vec();
    sizes[0] = count;
    at::Tensor target = transfer_.allocate(sizes, prototype.scalar_type());
    const auto bytes = static_cast<std::size_t>(row_bytes(prototype));
    auto* out = static_cast<std::byte*>(target.mutable_data_ptr());
    for (const auto& [chunk, row] : planned.rows) {
      const at::Tensor& source = chunk->block.tensors[name];
      std::memcpy(
          out, static_cast<const std::byte*>(source.const_data_ptr()) + static_cast<std::size_t>(row) * bytes,
          bytes);
      out += bytes;
    }
    host.set(name, std::move(target));
  }
  at::Tensor ids = transfer_.allocate({count}, at::kLong);
  std::copy(planned.ids.begin(), planned.ids.end(), ids.mutable_data_ptr<std::int64_t>());
  host.set(std::string(kSampleIds), std::move(ids));
  planned.pending = transfer_.start(std::move(host));
}

LoaderPipeline::Chunk* LoaderPipeline::next_to_read() {
  if (wanted_.empty()) return nullptr;
  Chunk* chunk = wanted_.front();
  wanted_.pop_front();
  return chunk;
}

LoaderPipeline::Chunk* LoaderPipeline::next_to_read_ahead() {
  if (ahead_epoch_ < plan_epoch_) {  // batches have asked for all that was left of it
    ahead_epoch_ = plan_epoch_;
    ahead_index_ = 0;
  }
  while (ahead_epoch_ <= plan_epoch_ + 1) {
    const auto order = order_of(ahead_epoch_);
    const auto sequence = order->reading_order();
    if (ahead_index_ == sequence.size()) {
      ++ahead_epoch_;
      ahead_index_ = 0;
      continue;
    }
    const std::size_t range = sequence[ahead_index_];
    const auto residence = order->residence(range);
    const bool passed = ahead_epoch_ == plan_epoch_ && residence.last < share_.begin(plan_step_);
    if (passed || !share_.reads_ahead(residence, order->streams())) {
      ++ahead_index_;
      continue;
    }
    if (bytes_held_ + bytes_of(range) > options_.prefetch_bytes) return nullptr;
    ++ahead_index_;
    Chunk& chunk = chunk_of(ahead_epoch_, range);
    if (chunk.state == Chunk::State::absent) return &chunk;
  }
  return nullptr;
}

void LoaderPipeline::read(Chunk& chunk, Lock& lock) {
  chunk.state = Chunk::State::reading;
  hold(bytes_of(chunk.range));
  lock.unlock();
  const auto begin = Clock::now();
  SampleBlock block;
  std::exception_ptr error;
  try {
    block = read_contiguous(*dataset_, chunk.range);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  statistics_.decode_seconds += seconds_since(begin);
  chunk.block = std::move(block);
  chunk.error = std::move(error);
  chunk.state = Chunk::State::ready;
  for (PlannedBatch* batch : std::exchange(chunk.waiting, {})) --batch->missing;
  drop_if_unused(chunk);
  work_there_.notify_all();
}

LoaderPipeline::Chunk& LoaderPipeline::chunk_of(std::int64_t epoch, std::size_t range) {
  const ChunkKey key{keep_chunks_ ? 0 : epoch, range};
  auto& chunk = chunks_[key];
  if (!chunk) {
    chunk = std::make_unique<Chunk>();
    chunk->key = key;
    chunk->range = range;
    if (!keep_chunks_) expiry_.insert({{epoch, order_of(epoch)->residence(range).last}, key});
  }
  return *chunk;
}

// Marks the chunks that no batch after the last planned one needs.
void LoaderPipeline::expire() {
  const std::pair<std::int64_t, std::int64_t> reached{plan_epoch_, share_.begin(plan_step_)};
  while (!expiry_.empty() && expiry_.begin()->first < reached) {
    Chunk& chunk = *chunks_.at(expiry_.begin()->second);
    expiry_.erase(expiry_.begin());
    chunk.expired = true;
    drop_if_unused(chunk);
  }
}

void LoaderPipeline::drop_if_unused(Chunk& chunk) {
  if (!chunk.expired || chunk.users > 0 || chunk.state == Chunk::State::reading) return;
  if (chunk.state == Chunk::State::ready) bytes_held_ -= bytes_of(chunk.range);
  chunks_.erase(chunk.key);
}

std::shared_ptr<const EpochOrder> LoaderPipeline::order_of(std::int64_t epoch) {
  auto& order = orders_[epoch];
  if (!order) {
    auto options = order_options_;
    options.epoch = epoch;
    order = std::make_shared<const EpochOrder>(dataset_->ranges(), options);
  }
  return order;
}

void LoaderPipeline::hold(std::int64_t bytes) {
  bytes_held_ += bytes;
  statistics_.bytes_peak = std::max(statistics_.bytes_peak, bytes_held_);
}

std::int64_t LoaderPipeline::bytes_of(const PlannedBatch& batch) const {
  return static_cast<std::int64_t>(batch.rows.size()) * sample_bytes_;
}

std::int64_t LoaderPipeline::bytes_of(std::size_t range) const {
  return dataset_->ranges()[range].count * sample_bytes_;
}

}  // namespace bunchtrain::data
