// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the loader hands to a training step.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain {

/// The tensor of a ragged batch that says which elements belong to which sample.
inline constexpr std::string_view kRowSplits = "row_splits";

/// This rank's share of one optimizer step.
///
/// Tensors: "points" [B, P, 2], "features" [B, P, F], "mask" [B, P] bool, "label" [B] int64, optional
/// "weight" [B]; all on the loader's device. Ragged ones are [E, ...], the elements (hits) of all samples one after
/// another, with "row_splits" [B + 1] int64. A rank's share may be empty (B = 0) at the uneven end of an epoch, and
/// have no elements at any time: every rank still takes part in the step.
class Batch {
 public:
  NamedTensors tensors;
  at::Tensor sample_ids;            ///< [B] int64, unique over the dataset (file-independent sample number)
  std::int64_t global_samples = 0;  ///< samples of the step over all ranks
  /// Elements (hits, particles) of this rank and of the step over all ranks, for losses that are means over them; 0
  /// unless the dataset is ragged.
  std::int64_t elements = 0, global_elements = 0;
  /// [B + 1] int64 on the host: sample i has the elements element_splits[i] to element_splits[i + 1] - 1 of this
  /// rank's, so that a batch can be cut without waiting for a device. Undefined unless the dataset is ragged.
  at::Tensor element_splits;
  std::vector<std::string> ragged;  ///< names of the tensors [E, ...]; none where elements are padded
  /// Samples of this rank's share that could not be read (`data::BadData`): zeros of weight 0, or left out.
  std::int64_t bad_samples = 0;
  std::int64_t epoch = 0;
  std::int64_t step = 0;  ///< step within the epoch, from 0

  const at::Tensor& operator[](std::string_view name) const { return tensors[name]; }
  std::int64_t size() const noexcept { return sample_ids.defined() ? sample_ids.size(0) : 0; }
  std::int64_t global_size() const noexcept { return global_samples; }
};

/// The samples [begin, end) of a rank's share, a microbatch: tensors are views, ragged ones with the elements of
/// these samples and row splits that begin at 0; what is global is that of the step. Does not wait for a device.
/// @throws ConfigError for samples that the batch does not have, or row splits without `element_splits`
Batch slice_samples(const Batch& batch, std::int64_t begin, std::int64_t end);

}  // namespace bunchtrain
