// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Means over blocks of neighbouring cells.

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "bunchtrain/nn/spatial_partition.hpp"
#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::nn {

struct AveragePoolOptions {
  ops::Extent3 block = {2, 2, 2};  ///< cells along x, y, z
};

/// The mean of each block of cells; cells at the end that fill no block are dropped. Differentiable to any order.
class AveragePoolImpl : public torch::nn::Module, public SpatialLayer {
 public:
  explicit AveragePoolImpl(AveragePoolOptions options = {});
  /// [B, X, Y, Z, C] to [B, X / block, Y / block, Z / block, C].
  at::Tensor forward(const at::Tensor& cells);

 private:
  AveragePoolOptions options_;
};
TORCH_MODULE(AveragePool);

}  // namespace bunchtrain::nn
