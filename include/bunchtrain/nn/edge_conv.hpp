// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The EdgeConv block of ParticleNet (Wang et al., 1801.07829; Qu & Gouskos, 1902.08570), as
/// matrix products over points.

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/edge_storage.hpp"
#include "bunchtrain/ops/edge_conv.hpp"

namespace bunchtrain::nn {

struct EdgeConvOptions {
  std::int64_t in_channels = 1;
  std::array<std::int64_t, 3> channels = {64, 64, 64};  ///< widths of the three layers
  bool recompute = false;  ///< recompute edges in backward instead of keeping them
};

using ops::Padding;

/// Memory of one block in a training step.
struct EdgeConvFootprint {
  std::int64_t kept;       ///< bytes from forward to backward
  std::int64_t transient;  ///< bytes more while the block itself runs
};

/// One EdgeConv block: out_i = relu(mean over neighbours j of f(x_i, x_j - x_i) + shortcut(x_i)), f being
/// three linear layers without bias, each followed by batch norm and ReLU; the shortcut is linear with batch
/// norm where the number of channels changes, else the identity.
///
/// Parameters have weaver-core's names and shapes: `convs.0.weight` [C, 2 Cin, 1, 1], `bns.0.*`, ...,
/// `sc.weight` [C, Cin, 1], `sc_bn.*`. The edge part is `ops::edge_conv`, which says what is kept for backward
/// and what autocast does. Differentiable once.
class EdgeConvBlockImpl : public torch::nn::Module {
 public:
  /// @throws ConfigError if a width is not positive.
  explicit EdgeConvBlockImpl(EdgeConvOptions options);

  /// [B, P, C] from features [B, P, Cin] and neighbours [B, P, K] int32, as `ops::knn` returns them.
  at::Tensor forward(const at::Tensor& features, const at::Tensor& indices, const Padding& padding);

  const EdgeConvOptions& options() const noexcept { return options_; }
  /// The weight of layer 0, 1 or 2.
  const at::Tensor& layer_weight(std::size_t layer) const noexcept { return weights_[layer]; }
  BatchNorm& layer_norm(std::size_t layer) noexcept { return norms_[layer]; }
  /// What `ops::edge_conv` takes: these layers' tensors themselves, in the mode that they are in now.
  ops::EdgeConvLayers layers() const;
  /// Prediction for `points` real points of K neighbours each.
  EdgeConvFootprint footprint(std::int64_t points, std::int64_t k, EdgeStorage storage = {}) const;
  /// `ops::why_by_operations` of such a batch on `device`, wherever the block is now, in the precision set now.
  /// @param padding its rules; the mask is not looked at
  std::string why_by_operations(std::int64_t points, std::int64_t k, const Padding& padding,
                                c10::Device device) const;

 private:
  at::Tensor shortcut(const at::Tensor& features, const Padding& padding);

  EdgeConvOptions options_;
  std::array<at::Tensor, 3> weights_;
  std::array<BatchNorm, 3> norms_{nullptr, nullptr, nullptr};
  at::Tensor shortcut_weight_;
  BatchNorm shortcut_norm_{nullptr};
};
TORCH_MODULE(EdgeConvBlock);

}  // namespace bunchtrain::nn
