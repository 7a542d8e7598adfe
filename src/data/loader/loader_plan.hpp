// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a loader knows before it reads samples: their sizes, their order, how batches are made of them.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/data/data_loader.hpp"
#include "epoch_batches.hpp"

namespace bunchtrain::data {

/// What the loader adds to every batch: its name travels to the device with those of the other tensors.
inline constexpr std::string_view kSampleIds = "sample_ids";

/// A function of data and options alone, the same on all ranks. Immutable, thread-safe.
class LoaderPlan {
 public:
  /// Reads one range, for names and shapes. @param options with a collation
  /// @throws DataError if the range cannot be read, ConfigError if it cannot be collated
  /// @param on_device names of tensors that a device makes: `collate` leaves them out
  LoaderPlan(DatasetPtr dataset, const DataLoaderOptions& options,
             std::span<const std::string> on_device = {});

  /// Of any epoch, each with its order.
  EpochBatches batches(std::int64_t epoch) const;
  /// A sample of a range; its block may be read later.
  CollatedSample locate(std::int64_t sample, std::size_t range, const SampleBlock& block) const;
  TakenElements taken() const noexcept { return {row_splits_, collation_.get()}; }
  /// @throws ConfigError if the collation makes no batch of them
  NamedTensors collate(std::span<const CollatedSample> samples, const AllocateTensor& allocate) const;
  /// A block without samples, as the host makes it: names, types, shapes.
  const SampleBlock& like() const noexcept { return like_; }
  /// Says on the host which elements a batch of these samples has, and which of its tensors are ragged.
  void mark_elements(Batch& batch, const NamedTensors& tensors, std::span<const std::int64_t> samples) const;
  /// Places of a padded batch of ragged samples; 0 of others.
  std::int64_t padded_slots(const NamedTensors& tensors) const;
  /// To samples that have none, where weights tell damaged ones.
  void add_weights(SampleBlock& block, std::int64_t samples) const;
  /// Zeros in place of samples that cannot be read.
  SampleBlock blank(std::size_t range) const;
  /// @throws DataError unless the block's tensors are those of the other blocks and as long as the range.
  void require_fitting(std::size_t range, const SampleBlock& block) const;

  std::int64_t bytes_of(std::size_t range) const;
  std::int64_t bytes_of_batch(std::int64_t samples, std::int64_t elements) const;
  std::int64_t bytes_of_all() const;
  /// What is printed once. @param kept_chunks whether what is decoded stays
  std::string describe(bool kept_chunks) const;

 private:
  std::int64_t elements() const noexcept { return row_splits_.empty() ? 0 : row_splits_.back(); }
  std::int64_t elements_of(std::size_t range) const;
  bool is_ragged(std::string_view name) const;
  LengthBuckets buckets(std::int64_t epoch) const;
  /// Samples that a batch usually has.
  std::int64_t usual_batch() const;
  std::string describe_batches() const;

  DatasetPtr dataset_;
  DataLoaderOptions options_;
  CollationPtr collation_;
  std::span<const std::string> ragged_;
  std::span<const std::int64_t> row_splits_;
  SampleBlock like_, collated_like_;
  bool adds_weights_ = false;
  std::int64_t row_bytes_ = 0;      ///< of a sample, without its elements
  std::int64_t element_bytes_ = 0;  ///< of an element
  EpochOrder::Options order_options_;
};

}  // namespace bunchtrain::data
