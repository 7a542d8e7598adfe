// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/memory_dataset.hpp"

#include <ATen/ops/mul.h>
#include <ATen/ops/narrow.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "row_splits.hpp"
#include "sample_ranges.hpp"
#include "weight_sums.hpp"

namespace bunchtrain::data {
namespace {

/// What of a dataset is ragged, and how.
struct Elements {
  std::vector<std::string> ragged = {};
  std::vector<std::int64_t> row_splits = {};
};

class MemoryDataset final : public Dataset {
 public:
  MemoryDataset(NamedTensors tensors, std::int64_t samples, std::int64_t range_size, Elements elements = {})
      : tensors_(std::move(tensors)),
        samples_(samples),
        elements_(std::move(elements)),
        ranges_(make_ranges(samples, range_size)) {
    summary_.description = fmt::format("{} samples in memory", samples);
    if (!elements_.ragged.empty())
      summary_.description += fmt::format(", with {} elements", elements_.row_splits.back());
    summary_.samples = summary_.rows.stored = samples;
    normalise_weights();
    summary_.fingerprint = fingerprint();
    count_classes();
  }

  std::int64_t size() const noexcept override { return samples_; }
  std::span<const SampleRange> ranges() const noexcept override { return ranges_; }
  std::span<const std::string> ragged() const noexcept override { return elements_.ragged; }
  std::span<const std::int64_t> row_splits() const noexcept override { return elements_.row_splits; }
  const DatasetSummary& summary() const override { return summary_; }

  SampleBlock read(std::size_t range) const override {
    SampleBlock block{.tensors = {}, .range = ranges_.at(range)};
    const SampleRange samples = block.range;
    const SampleRange elements = is_ragged_dataset() ? elements_of(samples) : SampleRange{};
    for (const auto& [name, tensor] : tensors_) {
      const SampleRange& rows = is_ragged(name) ? elements : samples;
      block.tensors.set(name, tensor.narrow(0, rows.first, rows.count));
    }
    return block;
  }

 private:
  bool is_ragged_dataset() const { return !elements_.ragged.empty(); }
  bool is_ragged(const std::string& name) const {
    return std::ranges::find(elements_.ragged, name) != elements_.ragged.end();
  }
  SampleRange elements_of(const SampleRange& samples) const {
    const std::int64_t first = elements_.row_splits[static_cast<std::size_t>(samples.first)];
    const std::int64_t end = elements_.row_splits[static_cast<std::size_t>(samples.first + samples.count)];
    return {.first = first, .count = end - first};
  }

  /// A tensor of that name that has one value per sample.
  const at::Tensor* column(const std::string& name) const {
    const at::Tensor* found = tensors_.find(name);
    return found != nullptr && found->dim() == 1 && !is_ragged(name) ? found : nullptr;
  }

  std::string fingerprint() const {
    Hasher hasher;
    for (const auto& [name, tensor] : tensors_) {
      hasher.update(std::as_bytes(std::span(name)));
      hasher.update(std::as_bytes(std::span(tensor.sizes().data(), tensor.sizes().size())));
      hasher.update({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
    }
    for (const auto& name : elements_.ragged) hasher.update(std::as_bytes(std::span(name)));
    hasher.update(std::as_bytes(std::span(elements_.row_splits)));
    return hasher.hex();
  }

  void normalise_weights() {
    const at::Tensor* given = column("weight");
    if (given == nullptr || !given->is_floating_point()) return;
    const at::Tensor weights = given->to(at::kDouble);
    WeightSums sums;
    for (std::int64_t i = 0; i < samples_; ++i) {
      const double weight = weights.const_data_ptr<double>()[i];
      if (!std::isfinite(weight)) throw DataError(fmt::format("sample {}: its weight is {}", i, weight));
      sums.add(weight);
    }
    if (samples_ == 0) return;
    const double factor = 1 / sums.mean_magnitude();
    if (!std::isfinite(factor))
      throw DataError(fmt::format("the weights of {} samples are all 0: nothing would be learned", samples_));
    summary_.weight_factor = factor;
    summary_.negative_weights = sums.negative();
    summary_.negative_weight_share = sums.negative_share();
    tensors_.set("weight", weights.mul(factor).to(given->scalar_type()));
  }

  void count_classes() {
    const at::Tensor* labels = column("label");
    if (labels == nullptr || labels->scalar_type() != at::kLong) return;
    for (const auto label :
         std::span(labels->const_data_ptr<std::int64_t>(), static_cast<std::size_t>(samples_))) {
      if (label < 0) continue;
      const auto index = static_cast<std::size_t>(label);
      if (index >= summary_.class_counts.size()) summary_.class_counts.resize(index + 1);
      ++summary_.class_counts[index];
    }
    for (std::size_t i = 0; i < summary_.class_counts.size(); ++i)
      summary_.classes.push_back(std::to_string(i));
  }

  NamedTensors tensors_;
  std::int64_t samples_;
  Elements elements_;
  std::vector<SampleRange> ranges_;
  DatasetSummary summary_;
};

/// On the CPU, contiguous. @throws DataError for a scalar
at::Tensor as_rows(const std::string& name, const at::Tensor& tensor) {
  if (tensor.dim() < 1)
    throw DataError(fmt::format("tensor '{}' is a scalar: its first axis has to count samples", name));
  return tensor.cpu().contiguous();
}

std::vector<std::int64_t> to_numbers(const at::Tensor& row_splits) {
  if (!row_splits.defined() || row_splits.dim() != 1 || row_splits.scalar_type() != at::kLong ||
      row_splits.numel() == 0)
    throw DataError("row splits are a tensor [N + 1] int64 for N samples");
  const at::Tensor splits = row_splits.cpu().contiguous();
  const auto* first = splits.const_data_ptr<std::int64_t>();
  return {first, first + splits.numel()};
}

}  // namespace

DatasetPtr make_memory_dataset(NamedTensors tensors, std::int64_t range_size) {
  expects(range_size > 0, fmt::format("range_size is {}, must be positive", range_size));
  expects(!tensors.empty(), "a memory dataset needs at least one tensor");
  NamedTensors stored;
  std::int64_t samples = -1;
  std::string first_name;
  for (const auto& [name, tensor] : tensors) {
    stored.set(name, as_rows(name, tensor));
    if (samples < 0) {
      samples = tensor.size(0);
      first_name = name;
    }
    if (tensor.size(0) != samples)
      throw DataError(fmt::format("tensor '{}' has {} samples, tensor '{}' has {}", name, tensor.size(0),
                                  first_name, samples));
  }
  return std::make_shared<MemoryDataset>(std::move(stored), samples, range_size);
}

DatasetPtr make_ragged_dataset(NamedTensors tensors, std::vector<std::string> ragged,
                               const at::Tensor& row_splits, std::int64_t range_size) {
  expects(range_size > 0, fmt::format("range_size is {}, must be positive", range_size));
  expects(!ragged.empty(), "a ragged dataset needs at least one ragged tensor");
  for (const auto& name : ragged)
    if (!tensors.contains(name)) throw ConfigError("ragged", name, "the name of a tensor of the dataset");
  std::vector<std::int64_t> splits = to_numbers(row_splits);
  const auto samples = static_cast<std::int64_t>(splits.size()) - 1;
  require_row_splits(splits, samples);
  NamedTensors stored;
  for (const auto& [name, tensor] : tensors) {
    stored.set(name, as_rows(name, tensor));
    const bool has_elements = std::ranges::find(ragged, name) != ragged.end();
    if (has_elements && tensor.size(0) != splits.back())
      throw DataError(fmt::format("ragged tensor '{}' has {} rows, the row splits end at {}", name,
                                  tensor.size(0), splits.back()));
    if (!has_elements && tensor.size(0) != samples)
      throw DataError(fmt::format("tensor '{}' has {} rows, the row splits are those of {} samples", name,
                                  tensor.size(0), samples));
  }
  return std::make_shared<MemoryDataset>(std::move(stored), samples, range_size,
                                         Elements{std::move(ragged), std::move(splits)});
}

}  // namespace bunchtrain::data
