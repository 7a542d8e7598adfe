// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where an image becomes slabs, and where slabs become an image again.

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

#include "bunchtrain/nn/spatial_partition.hpp"

namespace bunchtrain::nn {

struct ToSlabOptions {
  std::int64_t cells = 1;  ///< of the whole image along x
  /// Borders lie at multiples of it: two to the number of halvings that are undone later, so that what was halved and
  /// doubled has the borders that it had.
  std::int64_t unit = 1;
};

/// A whole image, which all ranks have, becomes this rank's slab; a slab that was read as one stays as it is
/// (`data::ShowerDatasetOptions::slab_begin`). Without a partition every image does.
class ToSlabImpl : public torch::nn::Module, public SpatialLayer {
 public:
  explicit ToSlabImpl(ToSlabOptions options) : options_(options) {}
  /// [B, X, ...] to [B, X of the slab, ...]. @throws ConfigError if X is not `cells`.
  at::Tensor forward(const at::Tensor& image);
  void set_partition(std::shared_ptr<SpatialPartition> partition) override;
  /// The slabs of all ranks; none without a partition.
  const AxisCut& slabs() const noexcept { return slabs_; }

 private:
  ToSlabOptions options_;
  AxisCut slabs_;
};
TORCH_MODULE(ToSlab);

/// The slabs of all ranks become a whole image on each. Without a partition it stays as it is.
class ToWholeImpl : public torch::nn::Module, public SpatialLayer {
 public:
  /// [B, X of the slab, ...] to [B, X, ...].
  at::Tensor forward(const at::Tensor& slab);
};
TORCH_MODULE(ToWhole);

}  // namespace bunchtrain::nn
