// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the samples of a batch become its tensors: rows, padded rows, or ragged with row splits.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::data {

/// A sample of a batch: where it lies in a decoded block.
struct CollatedSample {
  const SampleBlock* block;
  std::int64_t row;            ///< within the block
  std::int64_t first_element;  ///< within the block's ragged tensors
  std::int64_t elements;       ///< 0 for samples that are rows
};

/// Gives memory for a tensor of a batch: recycled, pinned where the batch goes to a GPU.
using AllocateTensor = std::function<at::Tensor(at::IntArrayRef sizes, at::ScalarType dtype)>;

/// Makes the tensors of a batch out of samples. Immutable, thread-safe. Users may derive their own.
class Collation {
 public:
  virtual ~Collation() = default;
  /// "rows", "ragged", "padded to 64": what batches look like. A loader's state keeps it, and is refused by a
  /// loader with another one.
  virtual std::string kind() const = 0;
  /// @param samples none at an uneven end of an epoch, and once before the first batch
  /// @param like a block of the dataset without samples: names, types, shapes. @param ragged names of its tensors
  /// that have one row per element. Tensors of blocks are contiguous. A batch with "row_splits" is a ragged one: its
  /// tensors of these names are [E, ...].
  /// @throws ConfigError if the dataset has no tensors that it can make batches of
  virtual NamedTensors collate(std::span<const CollatedSample> samples, const SampleBlock& like,
                               std::span<const std::string> ragged, const AllocateTensor& allocate) const = 0;
  /// Bytes of a batch of so many samples and elements, for bounds on memory.
  virtual std::int64_t bytes(std::int64_t samples, std::int64_t elements, const SampleBlock& like,
                             std::span<const std::string> ragged) const = 0;
  /// Whether its batches are rows of the blocks' tensors, those of elements one after another with "row_splits", or padded by zeros
  /// to the second extent of "mask": then kernels can gather tensors that lie on a GPU (`DecodeOn::device`).
  virtual bool gathers() const noexcept { return false; }
  /// How many of a sample's elements a batch takes: what `Batch::elements` and budgets count.
  virtual std::int64_t taken(std::int64_t elements) const noexcept { return elements; }
};

using CollationPtr = std::shared_ptr<const Collation>;

/// [B, ...]: one row of every tensor per sample. What datasets without ragged tensors get by default.
CollationPtr make_row_collation();
/// Ragged tensors as [E, ...], the elements of all samples one after another, and "row_splits" [B + 1] int64:
/// sample i has the rows row_splits[i] to row_splits[i + 1] - 1. What ragged datasets get by default.
CollationPtr make_ragged_collation();
/// Ragged tensors as [B, length, ...], 0 where a sample has fewer elements, and "mask" [B, length] bool: true at
/// elements. Of a sample with more the first `length` are taken. @throws ConfigError unless `length` > 0
CollationPtr make_padded_collation(std::int64_t length);
/// The same with the length of the batch's longest sample, as a multiple of `multiple`, neither below `least` nor above
/// `most`: each rank has its own. `DataLoaderOptions::length_bucket_batches` keeps the padding small.
/// @throws ConfigError unless all are > 0
CollationPtr make_longest_collation(std::int64_t most, std::int64_t multiple = 8, std::int64_t least = 1);

}  // namespace bunchtrain::data
