// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Batch normalisation over the rows of [N, C] as a function of tensors. `nn::BatchNorm` is the layer.

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "bunchtrain/ops/statistics_reducer.hpp"

namespace bunchtrain::ops {

/// A batch norm of C channels: the very parameters and buffers of a layer, not copies, and how it uses them.
struct BatchNormTensors {
  at::Tensor weight, bias;               ///< [C], differentiable
  at::Tensor running_mean, running_var;  ///< [C], moved on in training
  at::Tensor num_batches_tracked;        ///< [] counted up in training
  double epsilon = 1e-5;
  double momentum = 0.1;  ///< PyTorch's meaning: running = (1 - momentum) running + momentum batch
  bool training = true;   ///< by the statistics of the rows; else by the running ones
  bool tracks = true;  ///< false: in training too the running statistics stay, as where a pass is run again
  std::shared_ptr<StatisticsReducer> reducer = nullptr;  ///< sums statistics over ranks; nullptr = local
};

/// `input` normalised over all dimensions but the last, times weight, plus bias.
///
/// In training statistics are those of the rows (of the masked rows if there is a mask), over all ranks if
/// there is a reducer; running variance is the unbiased one. Statistics are computed in float32 or wider. Rows
/// that the mask leaves out are normalised all the same. If no row counts, the running statistics stay; with
/// one row their variance is taken as biased.
///
/// @param input    [..., C] floating-point, dense, channels last; made contiguous if it is not.
/// @param row_mask [...] bool, true = the row counts in statistics; nothing = all do.
/// @param relu     max(0, .) of the result, in the same pass over memory.
/// @return as `input`. Differentiable once in input, weight and bias. Autocast rule: the dtype of `input` is
/// kept. On a GPU nothing waits for the device, and two runs give the same bits. With a reducer collective,
/// forward and backward: all ranks, same order. Not thread-safe on the same buffers in training.
/// @throws ConfigError if shapes or dtypes do not fit;
/// NotBuiltError for a tensor on a GPU in a build without CUDA.
at::Tensor batch_norm(const at::Tensor& input, const BatchNormTensors& norm,
                      const std::optional<at::Tensor>& row_mask = std::nullopt, bool relu = false);

}  // namespace bunchtrain::ops
