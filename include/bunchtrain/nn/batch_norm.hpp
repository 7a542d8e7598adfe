// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Batch normalisation over the rows of [N, C], with optional row mask and statistics summed over ranks.

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "bunchtrain/nn/spatial_partition.hpp"
#include "bunchtrain/ops/batch_norm.hpp"

namespace bunchtrain::nn {

struct BatchNormOptions {
  std::int64_t channels = 1;
  double epsilon = 1e-5;
  double momentum = 0.1;  ///< PyTorch's meaning: running = (1 - momentum) running + momentum batch
};

/// Batch norm over the last dimension of a dense [..., C] tensor (channels last, as our GEMM layers produce).
///
/// Parameters and buffers carry PyTorch's names (weight, bias, running_mean, running_var,
/// num_batches_tracked). In training mode statistics are those of the rows (of the masked rows if `row_mask`
/// [...] is given), over all ranks if a reducer is set; running variance is the unbiased one. Statistics are
/// computed in float32 or wider. Gradients equal those of `torch::nn::BatchNorm1d` on the union of the ranks'
/// rows. Rows that the mask leaves out are normalised all the same. If no row counts, the running statistics
/// stay; with one row their variance is taken as biased.
///
/// float32, float64, bfloat16 and float16 rows are kept in their dtype, also under autocast.
/// Differentiable once.
class BatchNormImpl : public torch::nn::Module, public SpatialLayer {
 public:
  explicit BatchNormImpl(BatchNormOptions options);

  /// [..., C], dtype of `input`. `relu` fuses max(0, .) behind the normalisation (one pass less in memory).
  at::Tensor forward(const at::Tensor& input, const std::optional<at::Tensor>& row_mask = std::nullopt,
                     bool relu = false);
  /// Statistics over ranks from now on; nullptr = local. Shared by all batch norms of a model.
  void set_reducer(std::shared_ptr<ops::StatisticsReducer> reducer) { reducer_ = std::move(reducer); }
  /// Statistics over the slabs from now on: rows that all ranks have are counted once for each.
  void set_partition(std::shared_ptr<SpatialPartition> partition) override;
  ops::StatisticsReducer* reducer() const noexcept { return reducer_.get(); }
  const BatchNormOptions& options() const noexcept { return options_; }
  /// What `ops::batch_norm` takes: these tensors themselves, in the mode that the layer is in now.
  ops::BatchNormTensors tensors() const;

  at::Tensor weight, bias, running_mean, running_var, num_batches_tracked;

 private:
  BatchNormOptions options_;
  std::shared_ptr<ops::StatisticsReducer> reducer_;
};
TORCH_MODULE(BatchNorm);

}  // namespace bunchtrain::nn
