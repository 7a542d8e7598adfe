// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/memory_dataset.hpp"

#include <ATen/ops/mul.h>
#include <ATen/ops/narrow.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "sample_ranges.hpp"
#include "weight_sums.hpp"

namespace bunchtrain::data {
namespace {

class MemoryDataset final : public Dataset {
 public:
  MemoryDataset(NamedTensors tensors, std::int64_t samples, std::int64_t range_size)
      : tensors_(std::move(tensors)), samples_(samples), ranges_(make_ranges(samples, range_size)) {
    summary_.description = fmt::format("{} samples in memory", samples);
    summary_.samples = summary_.rows.stored = samples;
    normalise_weights();
    summary_.fingerprint = fingerprint();
    count_classes();
  }

  std::int64_t size() const noexcept override { return samples_; }
  std::span<const SampleRange> ranges() const noexcept override { return ranges_; }
  const DatasetSummary& summary() const override { return summary_; }

  SampleBlock read(std::size_t range) const override {
    SampleBlock block{.tensors = {}, .range = ranges_.at(range)};
    for (const auto& [name, tensor] : tensors_)
      block.tensors.set(name, tensor.narrow(0, block.range.first, block.range.count));
    return block;
  }

 private:
  std::string fingerprint() const {
    Hasher hasher;
    for (const auto& [name, tensor] : tensors_) {
      hasher.update(std::as_bytes(std::span(name)));
      hasher.update(std::as_bytes(std::span(tensor.sizes().data(), tensor.sizes().size())));
      hasher.update({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
    }
    return hasher.hex();
  }

  void normalise_weights() {
    const at::Tensor* given = tensors_.find("weight");
    if (given == nullptr || given->dim() != 1 || !given->is_floating_point()) return;
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
    const at::Tensor* labels = tensors_.find("label");
    if (labels == nullptr || labels->dim() != 1 || labels->scalar_type() != at::kLong) return;
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
  std::vector<SampleRange> ranges_;
  DatasetSummary summary_;
};

}  // namespace

DatasetPtr make_memory_dataset(NamedTensors tensors, std::int64_t range_size) {
  expects(range_size > 0, fmt::format("range_size is {}, must be positive", range_size));
  expects(!tensors.empty(), "a memory dataset needs at least one tensor");
  NamedTensors stored;
  std::int64_t samples = -1;
  std::string first_name;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dim() < 1)
      throw DataError(fmt::format("tensor '{}' is a scalar: its first axis has to count samples", name));
    if (samples < 0) {
      samples = tensor.size(0);
      first_name = name;
    }
    if (tensor.size(0) != samples)
      throw DataError(fmt::format("tensor '{}' has {} samples, tensor '{}' has {}", name, tensor.size(0),
                                  first_name, samples));
    stored.set(name, tensor.cpu().contiguous());
  }
  return std::make_shared<MemoryDataset>(std::move(stored), samples, range_size);
}

}  // namespace bunchtrain::data
