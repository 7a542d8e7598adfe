// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the loader hands to a training step.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain {

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
  std::int64_t epoch = 0;
  std::int64_t step = 0;  ///< step within the epoch, from 0

  const at::Tensor& operator[](std::string_view name) const { return tensors[name]; }
  std::int64_t size() const noexcept { return sample_ids.defined() ? sample_ids.size(0) : 0; }
  std::int64_t global_size() const noexcept { return global_samples; }
};

}  // namespace bunchtrain
