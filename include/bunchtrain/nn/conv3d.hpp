// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A 3-D convolution layer over channels-last images, with an optional
/// nearest-neighbour upsampling before it.

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bunchtrain/nn/spatial_partition.hpp"
#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::nn {

struct Conv3dOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  ops::Extent3 kernel = {1, 1, 1};
  ops::Padding3 padding = {};
  /// The input is repeated so often first; `padding` counts cells after it.
  ops::Extent3 upsampling = {1, 1, 1};
  ops::Extent3 stride = {1, 1, 1}, dilation = {1, 1, 1};  ///< not beside an upsampling
  bool bias = true;

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// `ops::conv3d`, or `ops::upsampled_conv3d` where `upsampling` is not 1, with parameters `weight` [Cout,
/// Cin, kx, ky, kz] and `bias` [Cout]: the published form, whatever the computation makes of them.
/// Without gradients the summed kernels of an upsampling layer are kept until the weight changes. `forward`
/// is thread-safe, on any streams, as long as nobody changes the parameters.
///
/// With a partition it convolves slabs, from one thread; for backward it keeps slab and halo. Where messages travel by
/// themselves (`SpatialPartition::overlaps`), what needs no halo along the first axis that is cut is computed meanwhile.
class Conv3dImpl : public torch::nn::Module, public SpatialLayer {
 public:
  explicit Conv3dImpl(Conv3dOptions options);
  /// [B, X, Y, Z, Cin] to [B, X', Y', Z', Cout]; slabs by `output_cut`.
  at::Tensor forward(const at::Tensor& input);
  const Conv3dOptions& options() const noexcept { return options_; }

  at::Tensor weight, bias;

 private:
  /// Cells from `begin` of the whole image's first axis that is cut.
  struct Stretch {
    at::Tensor cells;
    std::int64_t begin;
  };

  at::Tensor kernels();
  std::array<AxisWindow, 3> windows() const noexcept;
  at::Tensor convolve(at::TensorList stretches, const ops::Padding3& padding, const at::Tensor& kept) const;
  at::Tensor of_slab(const at::Tensor& slab);
  /// Some outputs of the image, from stretches that have all that they see, of the other axes nothing more.
  at::Tensor outputs_of(const std::vector<Stretch>& at_hand, const CellBox& outputs,
                        const ImageCut& cut) const;

  struct KeptKernels;

  Conv3dOptions options_;
  std::shared_ptr<KeptKernels> kept_;
};
TORCH_MODULE(Conv3d);

}  // namespace bunchtrain::nn
