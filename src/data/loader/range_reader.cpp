// SPDX-License-Identifier: Apache-2.0
#include "range_reader.hpp"

#include <exception>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/staging.hpp"
#include "io/slab.hpp"
#include "reading.hpp"

namespace bunchtrain::data {

RangeReader::RangeReader(DatasetPtr dataset, std::shared_ptr<const LoaderPlan> plan,
                         const DataLoaderOptions& options, const DeviceDecoding* decoding)
    : dataset_(std::move(dataset)),
      plan_(std::move(plan)),
      on_bad_(options.on_bad),
      logger_(options.logger),
      staging_(options.staging.get()),
      decoding_(decoding) {}

RangePlan RangeReader::plan(std::size_t range) const {
  if (decoding_ == nullptr) return {.on_host = dataset_->plan(range)};
  return {.on_device = dataset_->plan_on_device(range)};
}

void RangeReader::expect(KeptPlan& range) const noexcept {
  const auto tell = [this](const ReadPlan& plan) {
    const auto staged = staging_ != nullptr ? staging_->redirect(plan) : std::nullopt;
    io::expect(staged ? staged->plan : plan);
  };
  try {
    const auto plan = range.look([&] { return this->plan(range.range()); });
    if (!plan) return;
    tell(plan->on_host);
    if (!plan->on_device) return;
    tell(plan->on_device->to_device);
    tell(plan->on_device->to_host);
  } catch (const std::exception&) {
  }
}

RangeReader::Samples RangeReader::read(KeptPlan& range, LoaderStatistics& spent) const {
  const std::size_t index = range.range();
  try {
    SampleBlock block = read_samples(range, spent);
    plan_->add_weights(block, dataset_->ranges()[index].count);
    plan_->require_fitting(index, block);
    return {.block = std::move(block)};
  } catch (const Error& error) {
    if (on_bad_ == BadData::stop || !is_damage(error)) throw;
    logger_.warning("damaged data are left out: " + error.message());
    SampleBlock blank = plan_->blank(index);
    return {.block = decoding_ != nullptr ? decoding_->bring(std::move(blank)) : std::move(blank),
            .bad = error.message()};
  }
}

SampleBlock RangeReader::read_samples(KeptPlan& range, LoaderStatistics& spent) const {
  const std::size_t index = range.range();
  const auto plan = range.take([&] { return this->plan(index); });
  if (decoding_ == nullptr) return read_on_host(index, plan->on_host, spent);
  if (auto block = decoding_->read(index, *plan->on_device, staging_, spent)) {
    ++spent.device_ranges;
    return std::move(*block);
  }
  ++spent.left_to_host;
  return decoding_->bring(read_on_host(index, dataset_->plan(index), spent));
}

/// With contiguous tensors.
SampleBlock RangeReader::read_on_host(std::size_t range, const ReadPlan& plan,
                                      LoaderStatistics& spent) const {
  SampleBlock block = read_staged(range, plan, spent);
  NamedTensors tensors;
  for (const auto& [name, tensor] : block.tensors) tensors.set(name, tensor.contiguous());
  block.tensors = std::move(tensors);
  return block;
}

/// From copies where there are some; what they bring that cannot be decoded is read again from the files.
SampleBlock RangeReader::read_staged(std::size_t range, const ReadPlan& plan, LoaderStatistics& spent) const {
  if (const auto staged = staging_ != nullptr ? staging_->redirect(plan) : std::nullopt) {
    try {
      return read_by(range, plan, staged->plan, spent);
    } catch (const DataError&) {
      staging_->distrust(*staged);
    } catch (const IoError&) {
      staging_->distrust(*staged);
    }
  }
  return read_from_files(range, plan, spent);
}

/// What looks damaged may be a file that is being written again.
SampleBlock RangeReader::read_from_files(std::size_t range, const ReadPlan& plan,
                                         LoaderStatistics& spent) const {
  try {
    return read_by(range, plan, plan, spent);
  } catch (const DataError&) {
    require_unchanged(plan, ByteSource::Look::now);
    throw;
  }
}

SampleBlock RangeReader::read_by(std::size_t range, const ReadPlan& plan, const ReadPlan& from,
                                 LoaderStatistics& spent) const {
  thread_local io::Slab slab;  // not the one of `io::thread_slab`: a dataset may read others while it decodes
  const PlannedBytes bytes = timed(spent.fetch_seconds, [&] { return slab.fetch(plan, from); });
  spent.bytes_fetched += static_cast<std::int64_t>(plan.bytes());
  require_unchanged(from, ByteSource::Look::now_and_then);
  return timed(spent.decode_seconds, [&] { return dataset_->decode(range, bytes); });
}

}  // namespace bunchtrain::data
