// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/batch_norm.hpp"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {

BatchNormImpl::BatchNormImpl(BatchNormOptions options) : options_(options) {
  expects(options_.channels > 0, "batch norm needs at least one channel");
  weight = register_parameter("weight", at::ones({options_.channels}));
  bias = register_parameter("bias", at::zeros({options_.channels}));
  running_mean = register_buffer("running_mean", at::zeros({options_.channels}));
  running_var = register_buffer("running_var", at::ones({options_.channels}));
  num_batches_tracked = register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
}

void BatchNormImpl::set_partition(std::shared_ptr<SpatialPartition> partition) {
  reducer_ = partition ? partition->statistics() : nullptr;
  SpatialLayer::set_partition(std::move(partition));
}

ops::BatchNormTensors BatchNormImpl::tensors() const {
  return {.weight = weight,
          .bias = bias,
          .running_mean = running_mean,
          .running_var = running_var,
          .num_batches_tracked = num_batches_tracked,
          .epsilon = options_.epsilon,
          .momentum = options_.momentum,
          .training = is_training(),
          .reducer = reducer_};
}

at::Tensor BatchNormImpl::forward(const at::Tensor& input, const std::optional<at::Tensor>& row_mask,
                                  bool relu) {
  return ops::batch_norm(input, tensors(), row_mask, relu);
}

}  // namespace bunchtrain::nn
