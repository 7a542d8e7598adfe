// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A transposed 3-D convolution layer over channels-last images: from coarse cells to fine ones.

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

#include "bunchtrain/nn/spatial_partition.hpp"
#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::nn {

struct TransposedConv3dOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  ops::Extent3 kernel = {2, 2, 2};
  ops::Extent3 stride = {2, 2, 2};  ///< fine cells per coarse one; at most the kernel
  ops::Padding3 padding = {};       ///< fine cells cut off the ends
  bool bias = true;

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// `ops::transposed_conv3d` with parameters `weight` [Cin, Cout, kx, ky, kz] and `bias` [Cout]. Differentiable to any
/// order. `forward` is thread-safe as long as nobody changes the parameters; with a partition, on slabs, from one thread.
class TransposedConv3dImpl : public torch::nn::Module, public SpatialLayer {
 public:
  explicit TransposedConv3dImpl(TransposedConv3dOptions options);
  /// [B, X, Y, Z, Cin] to [B, X', Y', Z', Cout], X' = (X - 1) stride + kx - padding; slabs by `output_cut`.
  at::Tensor forward(const at::Tensor& input);
  const TransposedConv3dOptions& options() const noexcept { return options_; }

  at::Tensor weight, bias;

 private:
  at::Tensor of_slab(const at::Tensor& slab);

  TransposedConv3dOptions options_;
};
TORCH_MODULE(TransposedConv3d);

}  // namespace bunchtrain::nn
