// SPDX-License-Identifier: Apache-2.0
#include "loader_pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "bunchtrain/data/staging.hpp"
#include "memory_note.hpp"
#include "reading.hpp"
#include "sample_ranges.hpp"

namespace bunchtrain::data {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWaitingSlice{50};

/// Counts and seconds; what is of an epoch as a whole is the caller's.
void add_work(LoaderStatistics& to, const LoaderStatistics& more) {
  to.bad_samples += more.bad_samples;
  to.elements += more.elements;
  to.slots += more.slots;
  to.device_ranges += more.device_ranges;
  to.left_to_host += more.left_to_host;
  to.fetch_seconds += more.fetch_seconds;
  to.decode_seconds += more.decode_seconds;
  to.assemble_seconds += more.assemble_seconds;
  to.processor_seconds += more.processor_seconds;
  to.batches += more.batches;
  to.bytes_fetched += more.bytes_fetched;
  to.bytes_decoded += more.bytes_decoded;
  to.bytes_delivered += more.bytes_delivered;
}

}  // namespace

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
      reader_(dataset_, plan_, options_, decoding_.get()),
      assembly_(plan_, transfer_, decoding_.get(), options.on_bad),
      held_(options.prefetch_bytes),
      chunks_(dataset_, plan_, options_, share_, epoch, held_),
      next_{.epoch = epoch, .step = step},
      prefetch_batches_(options.prefetch_batches) {
  options_.logger.info(plan_->describe(chunks_.keeps_chunks()));
  for (const std::string& note : {decoding.note, memory_note(transfer_.memory_node(), options.device)})
    if (!note.empty()) options_.logger.info(note);
  if (options_.staging) options_.staging->expect(dataset_, chunks_.ranges_from(next_));
  for (int i = 0; i < options_.threads; ++i)
    workers_.emplace_back([this](std::stop_token stop) { work(stop); });
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
  count_delivery(*planned);
  held_.release(assembly_.bytes_of(*planned));
  if (waited) deepen(assembly_.bytes_of(*planned));
  work_there_.notify_all();
  lock.unlock();
  return assembly_.deliver(*planned);
}

bool LoaderPipeline::is_there() const {
  return failure_ || (!queue_.empty() && queue_.front()->state == PlannedBatch::State::ready);
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

void LoaderPipeline::count_delivery(const PlannedBatch& planned) {
  ++statistics_.batches;
  statistics_.bad_samples += planned.batch.bad_samples;
  statistics_.bytes_delivered += assembly_.bytes_of(planned);
  if (planned.slots == 0) return;
  statistics_.elements += planned.batch.elements;
  statistics_.slots += planned.slots;
}

/// Somebody waited for a batch that others might have been made beside: more are made ahead, while memory allows. Everybody
/// waits for the first one.
void LoaderPipeline::deepen(std::int64_t batch_bytes) {
  constexpr std::int64_t kMostTimes = 4;
  if (!std::exchange(delivers_, true) || prefetch_batches_ == kMostTimes * options_.prefetch_batches) return;
  if (!held_.has_room_for((prefetch_batches_ + 1) * batch_bytes)) return;
  ++prefetch_batches_;
  options_.logger.debug(
      fmt::format("loader: a batch was waited for; {} are made ahead now", prefetch_batches_));
}

void LoaderPipeline::collect(LoaderStatistics& statistics) {
  const Lock lock(mutex_);
  if (statistics.batches == 0) times_.begin_epoch();
  times_.tell(statistics);
  add_work(statistics, std::exchange(statistics_, {}));
  statistics.first_bad = first_bad_;
  statistics.bytes_peak = std::max(statistics.bytes_peak, held_.take_peak());
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
  LoaderChunk* chunk = chunks_.next(next_);
  if (chunk == nullptr) return false;
  read(*chunk, lock);
  return true;
}

bool LoaderPipeline::may_plan() const { return static_cast<std::int64_t>(queue_.size()) < prefetch_batches_; }

void LoaderPipeline::plan_next() {
  if (chunks_.batches(next_.epoch).begin(next_.step) == dataset_->size()) {
    next_ = {.epoch = next_.epoch + 1, .step = 0};
    chunks_.forget_before(next_.epoch);
  }
  EpochBatches& batches = chunks_.batches(next_.epoch);
  auto planned = std::make_unique<PlannedBatch>();
  ++plan_number_;
  planned->batch.epoch = next_.epoch;
  planned->batch.step = next_.step;
  planned->batch.global_samples = batches.global_samples(next_.step);
  planned->batch.global_elements = batches.global_elements(next_.step);
  const auto positions = share_.positions(batches, next_.step);
  for (std::int64_t i = 0; i < positions.count; ++i)
    plan_sample(*planned, batches.order()[positions.first + i * positions.stride]);
  queue_.push_back(std::move(planned));
  ++next_.step;
  chunks_.expire(next_);
}

void LoaderPipeline::plan_sample(PlannedBatch& planned, std::int64_t sample) {
  const std::size_t range = find_range(dataset_->ranges(), sample);
  LoaderChunk& chunk = chunks_.chunk(next_.epoch, range);
  need(planned, chunk);
  planned.samples.push_back(plan_->locate(sample, range, chunk.block));
  planned.ids.push_back(sample);
  planned.batch.elements += plan_->taken().of(sample);
}

void LoaderPipeline::need(PlannedBatch& batch, LoaderChunk& chunk) {
  if (std::exchange(chunk.last_plan, plan_number_) == plan_number_) return;
  batch.chunks.push_back(&chunk);
  ++chunk.users;
  if (chunk.state == LoaderChunk::State::ready) return;
  ++batch.missing;
  chunk.waiting.push_back(&batch);
  if (chunk.state == LoaderChunk::State::absent) chunks_.want(chunk);
}

PlannedBatch* LoaderPipeline::next_to_assemble() {
  for (const auto& batch : queue_)
    if (batch->state == PlannedBatch::State::planned && batch->missing == 0) return batch.get();
  return nullptr;
}

void LoaderPipeline::assemble(PlannedBatch& batch, Lock& lock) {
  batch.state = PlannedBatch::State::assembling;
  assembly_.sort_out_bad(batch);
  held_.add(assembly_.bytes_of(batch));
  lock.unlock();
  const auto begin = Clock::now();
  const double processor_before = processor_seconds();
  try {
    assembly_.assemble(batch);
  } catch (...) {
    batch.error = std::current_exception();
  }
  const double spent = seconds_since(begin), processor_spent = processor_seconds() - processor_before;
  lock.lock();
  statistics_.assemble_seconds += spent;
  times_.add_batch(spent);
  statistics_.processor_seconds += processor_spent;
  batch.state = PlannedBatch::State::ready;
  for (LoaderChunk* chunk : std::exchange(batch.chunks, {})) {
    --chunk->users;
    chunks_.drop_if_unused(*chunk);
  }
  batch_there_.notify_one();
  work_there_.notify_all();
}

void LoaderPipeline::read(LoaderChunk& chunk, Lock& lock) {
  chunk.state = LoaderChunk::State::reading;
  held_.add(plan_->bytes_of(chunk.range()));
  const auto soon = chunks_.expected_next(next_);
  lock.unlock();
  for (const auto& range : soon) reader_.expect(*range);
  const double processor_before = processor_seconds();
  LoaderStatistics spent;
  RangeReader::Samples samples;
  std::exception_ptr error;
  try {
    samples = reader_.read(*chunk.plan, spent);
  } catch (...) {
    error = std::current_exception();
  }
  spent.processor_seconds = processor_seconds() - processor_before;
  spent.bytes_decoded = plan_->bytes_of(chunk.range());
  lock.lock();
  times_.add_range(spent.fetch_seconds, spent.decode_seconds);
  add_work(statistics_, spent);
  if (first_bad_.empty()) first_bad_ = samples.bad;
  chunk.block = std::move(samples.block);
  chunk.bad = std::move(samples.bad);
  chunk.error = std::move(error);
  chunk.state = LoaderChunk::State::ready;
  for (PlannedBatch* batch : std::exchange(chunk.waiting, {})) --batch->missing;
  chunks_.drop_if_unused(chunk);
  work_there_.notify_all();
}

}  // namespace bunchtrain::data
