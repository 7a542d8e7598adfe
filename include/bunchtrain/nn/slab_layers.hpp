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
  ops::Extent3 cells = {1, 1, 1};  ///< of the whole image
  /// Borders along x, y, z lie at multiples of it: two to the number of halvings that are undone later, so that what was halved and
  /// doubled has the borders that it had.
  ops::Extent3 units = {1, 1, 1};
};

/// A whole image, which all ranks have, becomes this rank's slab; along an axis of which this rank's part alone was read it
/// stays as it is (`data::ShowerDatasetOptions::slab_begin`). Without a partition every image does.
class ToSlabImpl : public torch::nn::Module, public SpatialLayer {
 public:
  explicit ToSlabImpl(ToSlabOptions options) : options_(options) {}
  /// [B, X, Y, Z, ...] to those of the slab. @throws ConfigError if X, Y, Z are neither `cells` nor the slab's.
  at::Tensor forward(const at::Tensor& image);
  void set_partition(std::shared_ptr<SpatialPartition> partition) override;
  /// The slabs of all ranks; none without a partition.
  const ImageCut& slabs() const noexcept { return slabs_; }

 private:
  ToSlabOptions options_;
  ImageCut slabs_;
};
TORCH_MODULE(ToSlab);

/// The slabs of all ranks become a whole image on each. Without a partition it stays as it is.
class ToWholeImpl : public torch::nn::Module, public SpatialLayer {
 public:
  /// [B, X, Y, Z, ...] of the slab to those of the image.
  at::Tensor forward(const at::Tensor& slab);
};
TORCH_MODULE(ToWhole);

}  // namespace bunchtrain::nn
