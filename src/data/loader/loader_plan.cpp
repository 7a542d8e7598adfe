// SPDX-License-Identifier: Apache-2.0
#include "loader_plan.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/core/wording.hpp"
#include "row_bytes.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::string_view kWeight = "weight", kLabel = "label", kMask = "mask";
constexpr std::uint64_t kBucketStream = 0x6275636b65747300;

NamedTensors without_rows(const NamedTensors& tensors) {
  NamedTensors empty;
  for (const auto& [name, tensor] : tensors) {
    auto sizes = tensor.sizes().vec();
    sizes[0] = 0;
    empty.set(name, at::empty(sizes, tensor.options()));
  }
  return empty;
}

/// Of the first range that has samples; of the first that is not damaged, where damage is no error.
SampleBlock read_like(const Dataset& dataset, BadData on_bad) {
  const auto ranges = dataset.ranges();
  std::exception_ptr damage;
  for (std::size_t range = 0; range < ranges.size(); ++range) {
    if (ranges[range].count == 0) continue;
    try {
      const SampleBlock block = dataset.read(range);
      return {.tensors = without_rows(block.tensors), .range = {.first = block.range.first, .count = 0}};
    } catch (const DataError&) {
      if (on_bad == BadData::stop) throw;
      damage = std::current_exception();
    }
  }
  if (damage) std::rethrow_exception(damage);
  throw DataError("the dataset has no samples");
}

bool same_row(const at::Tensor& one, const at::Tensor& other) {
  return one.dim() == other.dim() && one.scalar_type() == other.scalar_type() &&
         one.sizes().slice(1) == other.sizes().slice(1);
}

at::Tensor allocate_plainly(at::IntArrayRef sizes, at::ScalarType type) {
  return at::empty(sizes, at::TensorOptions().dtype(type));
}

}  // namespace

LoaderPlan::LoaderPlan(DatasetPtr dataset, const DataLoaderOptions& options,
                       std::span<const std::string> on_device)
    : dataset_(std::move(dataset)),
      options_(options),
      collation_(options.collation),
      ragged_(dataset_->ragged()),
      row_splits_(ragged_.empty() ? std::span<const std::int64_t>() : dataset_->row_splits()),
      like_(read_like(*dataset_, options.on_bad)) {
  for (const auto& name : ragged_)
    if (!like_.tensors.contains(name))
      throw DataError(
          fmt::format("the dataset names '{}' among its ragged tensors, and reads no such tensor", name));
  adds_weights_ = options.on_bad == BadData::zero_weight && !like_.tensors.contains(kWeight);
  if (adds_weights_ && is_ragged(kLabel))
    throw ConfigError(fmt::format(
        "damaged data can be left out by a weight of 0 only where elements have weights; these have labels "
        "alone: add weights to the card, or choose {}",
        setting("on_bad", "stop")));
  add_weights(like_, 0);
  for (const auto& [name, tensor] : like_.tensors)
    (is_ragged(name) ? element_bytes_ : row_bytes_) += row_bytes(tensor);
  collated_like_.range = like_.range;
  for (const auto& [name, like] : like_.tensors)
    if (std::ranges::find(on_device, name) == on_device.end()) collated_like_.tensors.set(name, like);
  collate({}, allocate_plainly);
  order_options_ = choose_order(dataset_->ranges(), bytes_of_all() / dataset_->size(), usual_batch());
  order_options_.seed = options.seed;
  order_options_.shuffle = options.shuffle;
}

EpochBatches LoaderPlan::batches(std::int64_t epoch) const {
  auto options = order_options_;
  options.epoch = epoch;
  return {std::make_shared<const EpochOrder>(dataset_->ranges(), options), taken(),
          BatchLimits{.samples = options_.global_batch, .elements = options_.global_elements},
          buckets(epoch)};
}

/// No more batches than are mixed in any case.
LengthBuckets LoaderPlan::buckets(std::int64_t epoch) const {
  if (options_.length_bucket_batches == 0) return {};
  const std::int64_t batch = std::min(options_.global_batch, dataset_->size());
  const std::int64_t window =
      order_options_.window_samples > 0 ? order_options_.window_samples : dataset_->size();
  return {.batch = batch,
          .batches = std::clamp<std::int64_t>(options_.length_bucket_batches, 1,
                                              std::max<std::int64_t>(window / batch, 1)),
          .key = mix64(options_.seed, static_cast<std::uint64_t>(epoch) ^ kBucketStream)};
}

CollatedSample LoaderPlan::locate(std::int64_t sample, std::size_t range, const SampleBlock& block) const {
  const std::int64_t first = dataset_->ranges()[range].first;
  CollatedSample located{.block = &block, .row = sample - first, .first_element = 0, .elements = 0};
  if (row_splits_.empty()) return located;
  const std::int64_t begin = row_splits_[static_cast<std::size_t>(sample)];
  located.first_element = begin - row_splits_[static_cast<std::size_t>(first)];
  located.elements = row_splits_[static_cast<std::size_t>(sample) + 1] - begin;
  return located;
}

NamedTensors LoaderPlan::collate(std::span<const CollatedSample> samples,
                                 const AllocateTensor& allocate) const {
  NamedTensors batch = collation_->collate(samples, collated_like_, ragged_, allocate);
  const auto refuse = [&](const std::string& what) {
    throw ConfigError(fmt::format("the collation '{}' made no batch of {} samples: {}", collation_->kind(),
                                  samples.size(), what));
  };
  if (batch.empty()) refuse("there is no tensor");
  bool rows_expected = false;
  for (const CollatedSample& sample : samples)
    rows_expected = rows_expected || ragged_.empty() || sample.elements > 0;
  bool rows = false;
  for (const auto& [name, tensor] : batch) {
    if (name == kSampleIds) refuse("the name 'sample_ids' is the loader's own");
    if (!tensor.defined()) refuse(fmt::format("tensor '{}' is undefined", name));
    rows = rows || (tensor.dim() > 0 && tensor.size(0) > 0);
  }
  if (rows_expected && !rows) refuse("none of its tensors has a row");
  return batch;
}

void LoaderPlan::mark_elements(Batch& batch, const NamedTensors& tensors,
                               std::span<const std::int64_t> samples) const {
  if (row_splits_.empty()) return;
  batch.element_splits = at::empty({static_cast<std::int64_t>(samples.size()) + 1}, at::kLong);
  std::int64_t* end = batch.element_splits.mutable_data_ptr<std::int64_t>();
  *end = 0;
  for (const std::int64_t sample : samples) {
    end[1] = *end + taken().of(sample);
    ++end;
  }
  if (tensors.contains(kRowSplits)) batch.ragged.assign(ragged_.begin(), ragged_.end());
}

void LoaderPlan::require_fitting(std::size_t range, const SampleBlock& block) const {
  const SampleRange& samples = dataset_->ranges()[range];
  const auto refuse = [&](const std::string& name, const std::string& what) {
    throw DataError(fmt::format("samples {} to {}: tensor '{}' {}", samples.first,
                                samples.first + samples.count - 1, name, what));
  };
  for (const auto& [name, like] : like_.tensors) {
    const at::Tensor* tensor = block.tensors.find(name);
    if (tensor == nullptr) refuse(name, "is missing");
    if (!same_row(*tensor, like))
      refuse(name, fmt::format("is {} [{}], elsewhere it is {} [{}] without its first axis",
                               c10::toString(tensor->scalar_type()), fmt::join(tensor->sizes(), ", "),
                               c10::toString(like.scalar_type()), fmt::join(like.sizes().slice(1), ", ")));
    const std::int64_t rows = is_ragged(name) ? elements_of(range) : samples.count;
    if (tensor->size(0) != rows)
      refuse(name, fmt::format("has {} rows, {}", tensor->size(0),
                               is_ragged(name) ? fmt::format("the row splits say {}", rows)
                                               : fmt::format("not {}, one for each sample", rows)));
  }
}

std::int64_t LoaderPlan::padded_slots(const NamedTensors& tensors) const {
  if (ragged_.empty() || tensors.contains(kRowSplits)) return 0;
  const at::Tensor* mask = tensors.find(kMask);
  return mask == nullptr ? 0 : mask->numel();
}

void LoaderPlan::add_weights(SampleBlock& block, std::int64_t samples) const {
  if (adds_weights_) block.tensors.set(std::string(kWeight), at::ones({samples}, at::kFloat));
}

SampleBlock LoaderPlan::blank(std::size_t range) const {
  const SampleRange& samples = dataset_->ranges()[range];
  SampleBlock block{.tensors = {}, .range = samples};
  for (const auto& [name, like] : like_.tensors) {
    auto sizes = like.sizes().vec();
    sizes[0] = is_ragged(name) ? elements_of(range) : samples.count;
    block.tensors.set(name, at::zeros(sizes, like.options()));
  }
  return block;
}

std::int64_t LoaderPlan::elements_of(std::size_t range) const {
  if (row_splits_.empty()) return 0;
  const SampleRange& samples = dataset_->ranges()[range];
  const auto first = static_cast<std::size_t>(samples.first);
  return row_splits_[first + static_cast<std::size_t>(samples.count)] - row_splits_[first];
}

std::int64_t LoaderPlan::bytes_of(std::size_t range) const {
  return dataset_->ranges()[range].count * row_bytes_ + elements_of(range) * element_bytes_;
}

std::int64_t LoaderPlan::bytes_of_batch(std::int64_t samples, std::int64_t elements) const {
  return collation_->bytes(samples, elements, like_, ragged_);
}

std::int64_t LoaderPlan::bytes_of_all() const {
  return dataset_->size() * row_bytes_ + elements() * element_bytes_;
}

bool LoaderPlan::is_ragged(std::string_view name) const {
  return std::ranges::find(ragged_, name) != ragged_.end();
}

std::int64_t LoaderPlan::usual_batch() const {
  if (options_.global_elements == 0 || elements() == 0) return options_.global_batch;
  const double per_sample = static_cast<double>(elements()) / static_cast<double>(dataset_->size());
  const double within_budget = std::ceil(static_cast<double>(options_.global_elements) / per_sample);
  return within_budget < static_cast<double>(options_.global_batch) ? static_cast<std::int64_t>(within_budget)
                                                                    : options_.global_batch;
}

std::string LoaderPlan::describe(bool kept_chunks) const {
  constexpr double kMebibyte = 1 << 20;
  const double all = static_cast<double>(bytes_of_all()) / kMebibyte;
  const double bound = static_cast<double>(options_.prefetch_bytes) / kMebibyte;
  const std::string order = options_.shuffle
                                ? fmt::format("{} streams, shuffle window {} samples", order_options_.streams,
                                              std::min(order_options_.window_samples, dataset_->size()))
                                : "stored order";
  const std::string memory =
      kept_chunks ? fmt::format("decoded once and kept ({:.0f} MiB)", all)
                  : fmt::format("decoded every epoch ({:.0f} MiB), at most {:.0f} MiB ahead", all, bound);
  return fmt::format("loader: {} samples{}, {}, {}, {} thread{}", dataset_->size(), describe_batches(), order,
                     memory, options_.threads, options_.threads == 1 ? "" : "s");
}

/// What is said of ragged samples alone.
std::string LoaderPlan::describe_batches() const {
  if (ragged_.empty()) return {};
  std::string text = fmt::format(" with {} elements, {}", elements(), collation_->kind());
  std::int64_t cut = 0;
  for (std::size_t i = 1; i < row_splits_.size(); ++i)
    cut += taken().of(static_cast<std::int64_t>(i) - 1) < row_splits_[i] - row_splits_[i - 1];
  if (cut > 0) text += fmt::format(" ({} {} longer and cut)", cut, cut == 1 ? "sample is" : "samples are");
  const std::int64_t budget = options_.global_elements;
  if (const LengthBuckets of = buckets(0); of.batches > 1)
    text += fmt::format(", {} batches at a time sorted by length", of.batches);
  if (budget == 0) return text;
  std::int64_t alone = 0;
  for (std::int64_t sample = 0; sample < dataset_->size(); ++sample) alone += taken().of(sample) > budget;
  text += fmt::format(", batches of {} elements at most", budget);
  if (alone > 0)
    text += fmt::format(" ({} sample{} with more: each is a batch by itself)", alone, alone == 1 ? "" : "s");
  return text;
}

}  // namespace bunchtrain::data
