// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The edge part of an EdgeConv block (Wang et al., 1801.07829; Qu & Gouskos, 1902.08570) as a function of
/// tensors. `nn::EdgeConvBlock` is the layer.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/ops/batch_norm.hpp"

namespace bunchtrain::ops {

/// Which points of a batch are padded, and how they take part.
struct Padding {
  at::Tensor mask;     ///< [B, P] bool, true = real particle
  bool zeroed = true;  ///< padded features are zero in the input, as the caller guarantees, and in the output
  /// Padded points and the edges that leave them are rows of the batch norms' statistics.
  bool counted = true;

  /// The row mask of batch norms over points; nothing if all points count.
  std::optional<at::Tensor> counted_rows() const { return counted ? std::nullopt : std::optional(mask); }
};

/// Three linear layers without bias, each followed by batch norm and ReLU.
struct EdgeConvLayers {
  /// [C1, 2 Cin, ...], [C2, C1, ...] and [C3, C2, ...], trailing dimensions of size 1 allowed.
  std::array<at::Tensor, 3> weights;
  std::array<BatchNormTensors, 3> norms;
  bool recompute = false;  ///< recompute edges in backward instead of keeping them
  bool fused = true;       ///< on a GPU by fused passes where they take the call; else by operations
};

/// What a block adds to the mean before its last ReLU.
struct EdgeConvShortcut {
  at::Tensor weight = {};      ///< [C3, Cin, ...]; undefined: the features themselves, Cin = C3
  BatchNormTensors norm = {};  ///< of its product with the features
};

/// out_i = mean over neighbours j of f(x_i, x_j - x_i), f being the three layers.
///
/// The first layer is split before the gather: W [x_i ; x_j - x_i] = (W_a - W_b) x_i + W_b x_j. By passes, on the
/// CPU or fused on a GPU, only the inputs of the second and third batch norm are kept for backward, by operations
/// those of all three and of the linear layers, or nothing per edge with `recompute`; the gradients are the same bit
/// for bit, and the running statistics move once. On the CPU results are the same bits for any number of threads, and
/// by fused passes in every run.
///
/// Fused passes make products on tensor cores, of bfloat16 under its autocast, else of tf32 where LibTorch may
/// (`device::Precision`), else in float32 without them. They take float32 points and parameters, up to 16 neighbours, sets of up to 128 points and
/// layers of up to 256 channels, on GPUs of compute capability 8.0 or later: `why_by_operations` says what else goes
/// another way.
///
/// @param features [B, P, Cin] of the weights' dtype, or of another under autocast (B sets, P points).
/// @param indices  [B, P, K] int32, each in [0, P), as `knn` returns them. Rows of padded points are replaced:
///                 padded points are nearest to each other.
/// @return [B, P, C3], dtype of `features`. By passes rows of points whose edges are all zero are zero.
///
/// Differentiable once in `features`, weights, and the norms' weights and biases. Under autocast edges are of
/// its dtype (on the CPU, whose passes have no float16, they then stay float32), points and statistics float32.
/// With reducers collective, forward and backward: all ranks, same order.
/// Not thread-safe on the same buffers in training.
/// @throws ConfigError if shapes or dtypes do not fit;
/// NotBuiltError for tensors on a GPU in a build without CUDA.
at::Tensor edge_conv(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                     const EdgeConvLayers& layers);

/// A whole block, relu(edge_conv + shortcut), of padded points zero with `Padding::zeroed`: on a GPU in two launches beside the
/// lists of neighbours, a product that gives the terms of points and the shortcut, and one that takes each point through all
/// layers. Where nothing asks for gradients or for statistics of the batch and fused passes take the call; else nothing,
/// and the block is to be put together.
/// @return [B, P, C3] float32 @throws as `edge_conv`
std::optional<at::Tensor> evaluated_edge_conv(const at::Tensor& features, const at::Tensor& indices,
                                              const Padding& padding, const EdgeConvLayers& layers,
                                              const EdgeConvShortcut& shortcut);

/// Why such a call on a GPU goes through operations, row by row, instead of fused passes, as part of a sentence; empty
/// where it does not, and on the CPU. For a log: it says the same for every batch of the same sizes.
/// @throws NotBuiltError for tensors on a GPU in a build without CUDA.
std::string why_by_operations(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                              const EdgeConvLayers& layers);

/// Bytes of a step's edge part by fused passes.
struct FusedEdgeMemory {
  std::int64_t edges;     ///< from forward to backward, or with `recompute` while backward runs
  std::int64_t points;    ///< from forward to backward: terms, neighbours, what is known of edges by point
  std::int64_t backward;  ///< more while backward runs
};

/// Prediction for `points` of all sets, padded ones too, since no count of real ones comes to the host.
/// @param value_bytes of a number of an edge: 2 in bfloat16, else 4
/// @pre `why_by_operations` has nothing against such a call
FusedEdgeMemory fused_edge_memory(std::int64_t points, std::int64_t neighbours,
                                  const std::array<std::int64_t, 3>& channels, std::int64_t value_bytes);

}  // namespace bunchtrain::ops
