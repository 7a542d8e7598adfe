// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A user's own metric of a validation: a number per sample.

#include <ATen/core/Tensor.h>

#include <functional>

#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::train {

/// One number per sample, [B] or [B, 1] of any type, of what the network made of a batch (nothing, for the
/// networks of a `ManualStep`). The metric is their mean over all samples of all ranks, each counted once,
/// whatever the sizes of batches and shares and the weights of samples.
using SampleMetric = std::function<at::Tensor(const NamedTensors& outputs, const Batch& batch)>;

struct SampleMetricOptions {
  /// Whether it is the score of the validation: what "best" and `--patience` mean. One metric of a run at most.
  bool decides_best = false;
  bool smaller_is_better = false;  ///< as such a score
};

}  // namespace bunchtrain::train
