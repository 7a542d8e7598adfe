// SPDX-License-Identifier: Apache-2.0
#include "loader_pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/staging.hpp"
#include "reading.hpp"
#include "sample_ranges.hpp"

namespace bunchtrain::data {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWaitingSlice{50};

}  // namespace

struct LoaderPipeline::Chunk {
  enum class State { absent, wanted, reading, ready };
  ChunkKey key;
  std::size_t range = 0;
  State state = State::absent;
  SampleBlock block;
  std::exception_ptr error;
  std::string bad;  // why its samples could not be read, where that is no error
  std::vector<PlannedBatch*> waiting;
  std::int64_t users = 0;      // planned batches not yet assembled
  std::int64_t last_plan = 0;  // number of the last batch planned that needs it
  bool expired = false;        // no batch to come needs it
  bool expected = false;       // the engines have been told
};

struct LoaderPipeline::PlannedBatch {
  enum class State { planned, assembling, ready };
  std::vector<CollatedSample> samples;
  std::vector<std::int64_t> ids;
  std::vector<Chunk*> chunks;  // distinct
  std::size_t missing = 0;
  std::int64_t slots = 0;  // of a padded batch
  State state = State::planned;
  Batch batch;
  DeviceTransfer::Pending pending;
  std::exception_ptr error;
};

LoaderPipeline::LoaderPipeline(DatasetPtr dataset, std::shared_ptr<const LoaderPlan> plan,
                               const DataLoaderOptions& options, const DecodingChoice& decoding,
                               std::int64_t epoch, std::int64_t step)
    : dataset_(std::move(dataset)),
      plan_(std::move(plan)),
      options_(options),
      transfer_(options.device),
      decoding_(decoding.on_device ? std::make_unique<const DeviceDecoding>(dataset_, options.device,
                                                                            transfer_, plan_->like())
                                   : nullptr),
      share_{.rank = options.rank, .world = options.world_size, .strided = options.shuffle},
      keep_chunks_(plan_->bytes_of_all() <= options.prefetch_bytes),
      plan_epoch_(epoch),
      plan_step_(step),
      prefetch_batches_(options.prefetch_batches),
      ahead_epoch_(epoch) {
  options_.logger.info(plan_->describe(keep_chunks_));
  if (!decoding.note.empty()) options_.logger.info(decoding.note);
  if (options_.staging) options_.staging->expect(dataset_, ranges_to_come());
  for (int i = 0; i < options_.threads; ++i)
    workers_.emplace_back([this](std::stop_token stop) { work(stop); });
}

/// All of them, in the order in which this epoch needs them from its first planned step on.
std::vector<std::size_t> LoaderPipeline::ranges_to_come() {
  EpochBatches& batches = batches_of(plan_epoch_);
  const auto order = batches.order().reading_order();
  std::vector<std::size_t> ranges(order.begin(), order.end());
  const std::int64_t begin = batches.begin(plan_step_);
  std::ranges::stable_partition(
      ranges, [&](std::size_t range) { return batches.order().residence(range).last >= begin; });
  return ranges;
}

LoaderPipeline::~LoaderPipeline() {
  for (auto& worker : workers_) worker.request_stop();
}

Batch LoaderPipeline::take() {
  const auto begin = Clock::now();
  Lock lock(mutex_);
  const bool waited = !is_there();
  wait_for_batch(lock);
  times_.add_wait(seconds_since(begin));
  if (failure_) std::rethrow_exception(failure_);
  if (queue_.front()->error)
    std::rethrow_exception(queue_.front()->error);  // stays in front: the loader has ended

  const auto planned = std::move(queue_.front());
  queue_.pop_front();
  ++statistics_.batches;
  statistics_.bad_samples += planned->batch.bad_samples;
  if (planned->slots > 0) {
    statistics_.elements += planned->batch.elements;
    statistics_.slots += planned->slots;
  }
  statistics_.bytes_delivered += bytes_of(*planned);
  bytes_held_ -= bytes_of(*planned);
  if (waited) deepen(bytes_of(*planned));
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

bool LoaderPipeline::is_there() const {
  return failure_ || (!queue_.empty() && queue_.front()->state == PlannedBatch::State::ready);
}

/// Somebody waited for a batch that others might have been made beside: more are made ahead, while memory allows. Everybody
/// waits for the first one.
void LoaderPipeline::deepen(std::int64_t batch_bytes) {
  constexpr std::int64_t kMostTimes = 4;
  if (!std::exchange(delivers_, true) || prefetch_batches_ == kMostTimes * options_.prefetch_batches) return;
  if (bytes_held_ + (prefetch_batches_ + 1) * batch_bytes > options_.prefetch_bytes) return;
  ++prefetch_batches_;
  options_.logger.debug(
      fmt::format("loader: a batch was waited for; {} are made ahead now", prefetch_batches_));
}

void LoaderPipeline::wait_for_batch(Lock& lock) {
  const auto there = [this] { return is_there(); };
  if (!options_.while_waiting) return batch_there_.wait(lock, there);
  while (!batch_there_.wait_for(lock, kWaitingSlice, there)) {
    lock.unlock();
    options_.while_waiting();
    lock.lock();
  }
}

void LoaderPipeline::collect(LoaderStatistics& statistics) {
  const Lock lock(mutex_);
  if (statistics.batches == 0) times_.begin_epoch();
  times_.tell(statistics);
  statistics.bad_samples += statistics_.bad_samples;
  statistics.elements += statistics_.elements;
  statistics.slots += statistics_.slots;
  statistics.first_bad = first_bad_;
  statistics.device_ranges += statistics_.device_ranges;
  statistics.left_to_host += statistics_.left_to_host;
  statistics.fetch_seconds += statistics_.fetch_seconds;
  statistics.decode_seconds += statistics_.decode_seconds;
  statistics.assemble_seconds += statistics_.assemble_seconds;
  statistics.processor_seconds += statistics_.processor_seconds;
  statistics.batches += statistics_.batches;
  statistics.bytes_fetched += statistics_.bytes_fetched;
  statistics.bytes_decoded += statistics_.bytes_decoded;
  statistics.bytes_delivered += statistics_.bytes_delivered;
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

bool LoaderPipeline::may_plan() const { return static_cast<std::int64_t>(queue_.size()) < prefetch_batches_; }

void LoaderPipeline::plan_next() {
  if (batches_of(plan_epoch_).begin(plan_step_) == dataset_->size()) {
    ++plan_epoch_;
    plan_step_ = 0;
    epochs_.erase(epochs_.begin(), epochs_.lower_bound(plan_epoch_));
  }
  EpochBatches& batches = batches_of(plan_epoch_);
  auto planned = std::make_unique<PlannedBatch>();
  ++plan_number_;
  planned->batch.epoch = plan_epoch_;
  planned->batch.step = plan_step_;
  planned->batch.global_samples = batches.global_samples(plan_step_);
  planned->batch.global_elements = batches.global_elements(plan_step_);
  const auto positions = share_.positions(batches, plan_step_);
  for (std::int64_t i = 0; i < positions.count; ++i)
    plan_sample(*planned, batches.order()[positions.first + i * positions.stride]);
  queue_.push_back(std::move(planned));
  ++plan_step_;
  expire();
}

void LoaderPipeline::plan_sample(PlannedBatch& planned, std::int64_t sample) {
  const std::size_t range = find_range(dataset_->ranges(), sample);
  Chunk& chunk = chunk_of(plan_epoch_, range);
  need(planned, chunk);
  planned.samples.push_back(plan_->locate(sample, range, chunk.block));
  planned.ids.push_back(sample);
  planned.batch.elements += plan_->taken().of(sample);
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
  for (const auto& batch : queue_)
    if (batch->state == PlannedBatch::State::planned && batch->missing == 0) return batch.get();
  return nullptr;
}

void LoaderPipeline::assemble(PlannedBatch& batch, Lock& lock) {
  batch.state = PlannedBatch::State::assembling;
  count_bad(batch);
  hold(bytes_of(batch));
  lock.unlock();
  const auto begin = Clock::now();
  const double processor_before = processor_seconds();
  try {
    for (const Chunk* chunk : batch.chunks)
      if (chunk->error) std::rethrow_exception(chunk->error);
    fill(batch);
  } catch (...) {
    batch.error = std::current_exception();
  }
  const double spent = seconds_since(begin), processor_spent = processor_seconds() - processor_before;
  lock.lock();
  statistics_.assemble_seconds += spent;
  times_.add_batch(spent);
  statistics_.processor_seconds += processor_spent;
  batch.state = PlannedBatch::State::ready;
  for (Chunk* chunk : std::exchange(batch.chunks, {})) {
    --chunk->users;
    drop_if_unused(*chunk);
  }
  batch_there_.notify_one();
  work_there_.notify_all();
}

/// And leaves them out, if they are to be.
void LoaderPipeline::count_bad(PlannedBatch& planned) const {
  const auto is_bad = [&](std::size_t sample) {
    return std::ranges::any_of(planned.chunks, [&](const Chunk* chunk) {
      return !chunk->bad.empty() && planned.samples[sample].block == &chunk->block;
    });
  };
  if (std::ranges::all_of(planned.chunks, [](const Chunk* chunk) { return chunk->bad.empty(); })) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < planned.samples.size(); ++i) {
    const bool bad = is_bad(i);
    planned.batch.bad_samples += bad ? 1 : 0;
    if (bad && options_.on_bad == BadData::leave_out) {
      planned.batch.elements -= plan_->taken().of(planned.ids[i]);
      continue;
    }
    planned.samples[kept] = planned.samples[i];
    planned.ids[kept++] = planned.ids[i];
  }
  planned.samples.resize(kept);
  planned.ids.resize(kept);
}

void LoaderPipeline::fill(PlannedBatch& planned) const {
  const AllocateTensor allocate = [this](at::IntArrayRef sizes, at::ScalarType type) {
    return transfer_.allocate(sizes, type);
  };
  NamedTensors host = plan_->collate(planned.samples, allocate);
  plan_->mark_elements(planned.batch, host, planned.ids);
  planned.slots = plan_->padded_slots(host);
  at::Tensor ids = allocate({static_cast<std::int64_t>(planned.ids.size())}, at::kLong);
  std::copy(planned.ids.begin(), planned.ids.end(), ids.mutable_data_ptr<std::int64_t>());
  host.set(std::string(kSampleIds), std::move(ids));
  if (!decoding_) {
    planned.pending = transfer_.start(std::move(host));
    return;
  }
  const DeviceGather of = decoding_->prepare(planned.samples, host, allocate);
  planned.pending =
      transfer_.start(std::move(host), [&](NamedTensors& tensors) { decoding_->gather(of, tensors); });
}

LoaderPipeline::Chunk* LoaderPipeline::next_to_read() {
  if (wanted_.empty()) return nullptr;
  Chunk* chunk = wanted_.front();
  wanted_.pop_front();
  return chunk;
}

/// Whether a batch of this rank that is not planned yet needs a range of the epoch that is read ahead.
bool LoaderPipeline::is_to_come(std::size_t range, EpochBatches& batches) const {
  const auto residence = batches.order().residence(range);
  const bool passed = ahead_epoch_ == plan_epoch_ && residence.last < batches.begin(plan_step_);
  return !passed && share_.reads_ahead(residence, batches);
}

LoaderPipeline::Chunk* LoaderPipeline::next_to_read_ahead() {
  if (ahead_epoch_ < plan_epoch_) {  // batches have asked for all that was left of it
    ahead_epoch_ = plan_epoch_;
    ahead_index_ = expected_index_ = 0;
  }
  while (ahead_epoch_ <= plan_epoch_ + 1) {
    EpochBatches& batches = batches_of(ahead_epoch_);
    const auto sequence = batches.order().reading_order();
    if (ahead_index_ == sequence.size()) {
      ++ahead_epoch_;
      ahead_index_ = expected_index_ = 0;
      continue;
    }
    const std::size_t range = sequence[ahead_index_];
    if (!is_to_come(range, batches)) {
      ++ahead_index_;
      continue;
    }
    if (bytes_held_ + plan_->bytes_of(range) > options_.prefetch_bytes) return nullptr;
    ++ahead_index_;
    Chunk& chunk = chunk_of(ahead_epoch_, range);
    if (chunk.state == Chunk::State::absent) return &chunk;
  }
  return nullptr;
}

/// Enough to keep storage busy, and two for each thread in any case.
std::size_t LoaderPipeline::expected_ranges() const {
  constexpr std::int64_t kBytes = std::int64_t{32} << 20;
  const auto ranges = static_cast<std::int64_t>(dataset_->ranges().size());
  const std::int64_t usual = std::max<std::int64_t>(plan_->bytes_of_all() / ranges, 1);
  return static_cast<std::size_t>(
      std::max(std::int64_t{2} * options_.threads, std::min(kBytes / usual, ranges)));
}

/// Ranges that the threads will turn to after what they do now, each said once.
std::vector<std::size_t> LoaderPipeline::expected_next() {
  const auto most = expected_ranges();
  std::vector<std::size_t> ranges;
  const auto add = [&](Chunk& chunk) {
    if (!std::exchange(chunk.expected, true) && chunk.state != Chunk::State::ready)
      ranges.push_back(chunk.range);
  };
  for (std::size_t i = 0; i < std::min(most, wanted_.size()); ++i) add(*wanted_[i]);
  if (wanted_.size() >= most || ahead_epoch_ < plan_epoch_ || ahead_epoch_ > plan_epoch_ + 1) return ranges;
  EpochBatches& batches = batches_of(ahead_epoch_);
  const auto sequence = batches.order().reading_order();
  const std::size_t end = std::min(ahead_index_ + most, sequence.size());
  for (expected_index_ = std::max(expected_index_, ahead_index_); expected_index_ < end; ++expected_index_)
    if (is_to_come(sequence[expected_index_], batches))
      add(chunk_of(ahead_epoch_, sequence[expected_index_]));
  return ranges;
}

void LoaderPipeline::read(Chunk& chunk, Lock& lock) {
  chunk.state = Chunk::State::reading;
  hold(plan_->bytes_of(chunk.range));
  const std::vector<std::size_t> soon = expected_next();
  lock.unlock();
  for (const std::size_t range : soon) expect_range(*dataset_, range, options_.staging.get());
  const double processor_before = processor_seconds();
  LoaderStatistics spent;
  SampleBlock block;
  std::exception_ptr error;
  try {
    block = read_or_replace(chunk, spent);
  } catch (...) {
    error = std::current_exception();
  }
  const double processor_spent = processor_seconds() - processor_before;
  lock.lock();
  times_.add_range(spent.fetch_seconds, spent.decode_seconds);
  if (first_bad_.empty()) first_bad_ = chunk.bad;
  statistics_.fetch_seconds += spent.fetch_seconds;
  statistics_.decode_seconds += spent.decode_seconds;
  statistics_.processor_seconds += processor_spent;
  statistics_.bytes_fetched += spent.bytes_fetched;
  statistics_.device_ranges += spent.device_ranges;
  statistics_.left_to_host += spent.left_to_host;
  statistics_.bytes_decoded += plan_->bytes_of(chunk.range);
  chunk.block = std::move(block);
  chunk.error = std::move(error);
  chunk.state = Chunk::State::ready;
  for (PlannedBatch* batch : std::exchange(chunk.waiting, {})) --batch->missing;
  drop_if_unused(chunk);
  work_there_.notify_all();
}

SampleBlock LoaderPipeline::read_samples(std::size_t range, LoaderStatistics& spent) const {
  Staging* staging = options_.staging.get();
  if (!decoding_) return read_on_host(*dataset_, range, staging, spent);
  if (auto block = decoding_->read(range, staging, spent)) {
    ++spent.device_ranges;
    return std::move(*block);
  }
  ++spent.left_to_host;
  return decoding_->bring(read_on_host(*dataset_, range, staging, spent));
}

/// The samples of a chunk, or zeros where it is damaged and that is no error. Without the lock: nobody else looks at a
/// chunk that is being read.
SampleBlock LoaderPipeline::read_or_replace(Chunk& chunk, LoaderStatistics& spent) const {
  try {
    SampleBlock block = read_samples(chunk.range, spent);
    plan_->add_weights(block, dataset_->ranges()[chunk.range].count);
    plan_->require_fitting(chunk.range, block);
    return block;
  } catch (const Error& error) {
    if (options_.on_bad == BadData::stop || !is_damage(error)) throw;
    chunk.bad = error.message();
    options_.logger.warning("damaged data are left out: " + chunk.bad);
    return decoding_ ? decoding_->bring(plan_->blank(chunk.range)) : plan_->blank(chunk.range);
  }
}

LoaderPipeline::Chunk& LoaderPipeline::chunk_of(std::int64_t epoch, std::size_t range) {
  const ChunkKey key{keep_chunks_ ? 0 : epoch, range};
  auto& chunk = chunks_[key];
  if (!chunk) {
    chunk = std::make_unique<Chunk>();
    chunk->key = key;
    chunk->range = range;
    if (!keep_chunks_) expiry_.insert({{epoch, batches_of(epoch).order().residence(range).last}, key});
  }
  return *chunk;
}

// Marks the chunks that no batch after the last planned one needs.
void LoaderPipeline::expire() {
  const std::pair<std::int64_t, std::int64_t> reached{plan_epoch_, batches_of(plan_epoch_).begin(plan_step_)};
  while (!expiry_.empty() && expiry_.begin()->first < reached) {
    Chunk& chunk = *chunks_.at(expiry_.begin()->second);
    expiry_.erase(expiry_.begin());
    chunk.expired = true;
    drop_if_unused(chunk);
  }
}

void LoaderPipeline::drop_if_unused(Chunk& chunk) {
  if (!chunk.expired || chunk.users > 0 || chunk.state == Chunk::State::reading) return;
  if (chunk.state == Chunk::State::ready) bytes_held_ -= plan_->bytes_of(chunk.range);
  chunks_.erase(chunk.key);
}

EpochBatches& LoaderPipeline::batches_of(std::int64_t epoch) {
  const auto found = epochs_.find(epoch);
  return found != epochs_.end() ? found->second : epochs_.emplace(epoch, plan_->batches(epoch)).first->second;
}

void LoaderPipeline::hold(std::int64_t bytes) {
  bytes_held_ += bytes;
  statistics_.bytes_peak = std::max(statistics_.bytes_peak, bytes_held_);
}

std::int64_t LoaderPipeline::bytes_of(const PlannedBatch& planned) const {
  return plan_->bytes_of_batch(static_cast<std::int64_t>(planned.samples.size()), planned.batch.elements);
}

}  // namespace bunchtrain::data
