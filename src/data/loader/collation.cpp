// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/collation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "row_bytes.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::string_view kMask = "mask";

bool contains(std::span<const std::string> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// Copies rows of contiguous tensors one after another to the front of a new one.
class RowWriter {
 public:
  RowWriter(const at::Tensor& target, std::int64_t bytes_per_row)
      : out_(static_cast<std::byte*>(target.mutable_data_ptr())),
        bytes_per_row_(static_cast<std::size_t>(bytes_per_row)) {}

  void copy(const at::Tensor& source, std::int64_t first, std::int64_t count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * bytes_per_row_;
    if (bytes == 0) return;  // an empty tensor may have no memory
    const auto* rows = static_cast<const std::byte*>(source.const_data_ptr());
    std::memcpy(out_, rows + static_cast<std::size_t>(first) * bytes_per_row_, bytes);
    out_ += bytes;
  }
  void zero(std::int64_t count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * bytes_per_row_;
    if (bytes == 0) return;
    std::memset(out_, 0, bytes);
    out_ += bytes;
  }

 private:
  std::byte* out_;
  std::size_t bytes_per_row_;
};

/// A tensor like `like` with other extents in front of those of a row.
at::Tensor allocate_rows(const at::Tensor& like, std::vector<std::int64_t> front,
                         const AllocateTensor& allocate) {
  front.insert(front.end(), like.sizes().begin() + 1, like.sizes().end());
  return allocate(front, like.scalar_type());
}

/// One row per sample.
at::Tensor gather_rows(std::span<const CollatedSample> samples, const std::string& name,
                       const at::Tensor& like, const AllocateTensor& allocate) {
  at::Tensor target = allocate_rows(like, {static_cast<std::int64_t>(samples.size())}, allocate);
  RowWriter writer(target, row_bytes(like));
  for (const CollatedSample& sample : samples) writer.copy(sample.block->tensors[name], sample.row, 1);
  return target;
}

std::int64_t row_tensor_bytes(const SampleBlock& like, std::span<const std::string> ragged) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : like.tensors)
    if (!contains(ragged, name)) bytes += row_bytes(tensor);
  return bytes;
}

std::int64_t ragged_tensor_bytes(const SampleBlock& like, std::span<const std::string> ragged) {
  std::int64_t bytes = 0;
  for (const auto& name : ragged) bytes += row_bytes(like.tensors[name]);
  return bytes;
}

void require_ragged(const Collation& collation, const SampleBlock& like, std::span<const std::string> ragged,
                    std::string_view added) {
  if (ragged.empty())
    throw ConfigError("collation", collation.kind(), "rows: the dataset has no ragged tensors");
  if (like.tensors.contains(added))
    throw ConfigError(
        fmt::format("the collation '{}' adds the tensor '{}', and the dataset has one of that "
                    "name already: rename it there",
                    collation.kind(), added));
}

class RowCollation final : public Collation {
 public:
  std::string kind() const override { return "rows"; }
  bool gathers() const noexcept override { return true; }

  NamedTensors collate(std::span<const CollatedSample> samples, const SampleBlock& like,
                       std::span<const std::string> ragged, const AllocateTensor& allocate) const override {
    if (!ragged.empty())
      throw ConfigError("collation", kind(),
                        fmt::format("ragged or padded: samples have different numbers of rows in {}",
                                    fmt::join(ragged, ", ")));
    NamedTensors batch;
    for (const auto& [name, tensor] : like.tensors)
      batch.set(name, gather_rows(samples, name, tensor, allocate));
    return batch;
  }

  std::int64_t bytes(std::int64_t samples, std::int64_t /*elements*/, const SampleBlock& like,
                     std::span<const std::string> ragged) const override {
    return samples * row_tensor_bytes(like, ragged);
  }
};

class RaggedCollation final : public Collation {
 public:
  std::string kind() const override { return "ragged"; }
  bool gathers() const noexcept override { return true; }

  NamedTensors collate(std::span<const CollatedSample> samples, const SampleBlock& like,
                       std::span<const std::string> ragged, const AllocateTensor& allocate) const override {
    require_ragged(*this, like, ragged, kRowSplits);
    at::Tensor splits = allocate({static_cast<std::int64_t>(samples.size()) + 1}, at::kLong);
    std::int64_t* end = splits.mutable_data_ptr<std::int64_t>();
    *end = 0;
    for (const CollatedSample& sample : samples) {
      end[1] = *end + sample.elements;
      ++end;
    }
    NamedTensors batch;
    for (const auto& [name, tensor] : like.tensors)
      batch.set(name, contains(ragged, name) ? gather(samples, name, tensor, *end, allocate)
                                             : gather_rows(samples, name, tensor, allocate));
    batch.set(std::string(kRowSplits), std::move(splits));
    return batch;
  }

  std::int64_t bytes(std::int64_t samples, std::int64_t elements, const SampleBlock& like,
                     std::span<const std::string> ragged) const override {
    constexpr auto kSplitBytes = static_cast<std::int64_t>(sizeof(std::int64_t));
    return samples * row_tensor_bytes(like, ragged) + elements * ragged_tensor_bytes(like, ragged) +
           (samples + 1) * kSplitBytes;
  }

 private:
  static at::Tensor gather(std::span<const CollatedSample> samples, const std::string& name,
                           const at::Tensor& like, std::int64_t elements, const AllocateTensor& allocate) {
    at::Tensor target = allocate_rows(like, {elements}, allocate);
    RowWriter writer(target, row_bytes(like));
    for (const CollatedSample& sample : samples)
      writer.copy(sample.block->tensors[name], sample.first_element, sample.elements);
    return target;
  }
};

/// @throws ConfigError unless it is positive
std::int64_t positive(const char* name, std::int64_t value) {
  if (value < 1) throw ConfigError(name, fmt::format("{}", value), "an integer of at least 1");
  return value;
}

/// To `length`, or to the longest sample of a batch where `multiple` is not 0.
class PaddedCollation final : public Collation {
 public:
  explicit PaddedCollation(std::int64_t length, std::int64_t multiple = 0, std::int64_t least = 1)
      : most_(positive("length", length)), multiple_(multiple), least_(least) {}

  std::string kind() const override {
    if (multiple_ == 0) return fmt::format("padded to {}", most_);
    const std::string at_least = least_ > 1 ? fmt::format("{} at least, ", least_) : "";
    return fmt::format("padded to the longest, in multiples of {}, {}{} at most", multiple_, at_least, most_);
  }
  bool gathers() const noexcept override { return true; }
  std::int64_t taken(std::int64_t elements) const noexcept override { return std::min(elements, most_); }

  NamedTensors collate(std::span<const CollatedSample> samples, const SampleBlock& like,
                       std::span<const std::string> ragged, const AllocateTensor& allocate) const override {
    require_ragged(*this, like, ragged, kMask);
    const std::int64_t length = length_of(samples);
    at::Tensor mask = allocate({static_cast<std::int64_t>(samples.size()), length}, at::kBool);
    bool* out = mask.mutable_data_ptr<bool>();
    for (const CollatedSample& sample : samples) {
      std::fill_n(std::fill_n(out, taken(sample.elements), true), length - taken(sample.elements), false);
      out += length;
    }
    NamedTensors batch;
    for (const auto& [name, tensor] : like.tensors)
      batch.set(name, contains(ragged, name) ? gather(samples, name, tensor, length, allocate)
                                             : gather_rows(samples, name, tensor, allocate));
    batch.set(std::string(kMask), std::move(mask));
    return batch;
  }

  /// Without the padding, where that is not known.
  std::int64_t bytes(std::int64_t samples, std::int64_t elements, const SampleBlock& like,
                     std::span<const std::string> ragged) const override {
    const std::int64_t slots = multiple_ == 0 ? samples * most_ : elements;
    return samples * row_tensor_bytes(like, ragged) + slots * (ragged_tensor_bytes(like, ragged) + 1);
  }

 private:
  std::int64_t length_of(std::span<const CollatedSample> samples) const {
    if (multiple_ == 0) return most_;
    std::int64_t longest = least_;
    for (const CollatedSample& sample : samples) longest = std::max(longest, sample.elements);
    return std::min((longest + multiple_ - 1) / multiple_ * multiple_, most_);
  }

  at::Tensor gather(std::span<const CollatedSample> samples, const std::string& name, const at::Tensor& like,
                    std::int64_t length, const AllocateTensor& allocate) const {
    at::Tensor target = allocate_rows(like, {static_cast<std::int64_t>(samples.size()), length}, allocate);
    RowWriter writer(target, row_bytes(like));
    for (const CollatedSample& sample : samples) {
      writer.copy(sample.block->tensors[name], sample.first_element, taken(sample.elements));
      writer.zero(length - taken(sample.elements));
    }
    return target;
  }

  std::int64_t most_, multiple_, least_;
};

}  // namespace

CollationPtr make_row_collation() { return std::make_shared<RowCollation>(); }
CollationPtr make_ragged_collation() { return std::make_shared<RaggedCollation>(); }
CollationPtr make_padded_collation(std::int64_t length) { return std::make_shared<PaddedCollation>(length); }
CollationPtr make_longest_collation(std::int64_t most, std::int64_t multiple, std::int64_t least) {
  return std::make_shared<PaddedCollation>(most, positive("multiple", multiple), positive("least", least));
}

}  // namespace bunchtrain::data
