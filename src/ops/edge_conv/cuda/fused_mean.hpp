// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The edge part of an EdgeConv block by fused passes as a differentiable function.

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/ops/edge_conv.hpp"
#include "fused_passes.hpp"

namespace bunchtrain::ops::detail {

/// Calls `use` with a value of the type that edges of a precision are stored in.
template <class Use>
auto with_edges_of(device::Precision precision, Use&& use) {
  if (precision == device::Precision::bfloat16) return use(Bf16{});
  return precision == device::Precision::tf32 ? use(float{}) : use(ExactFloat{});
}

/// How edges are trained.
struct TrainingKind {
  device::Precision precision;  ///< of edges and their products
  TrainingCut cut = {};
};

/// [points of all sets, C3]: mean over each point's neighbours of the three layers on u_i + v_j, zero for points that
/// are no node.
///
/// `terms` [points of all sets, 2 C1] float32 holds u, then v. Edges and their products are bfloat16, or float32
/// with products in tf32 or exact. Differentiable once in `terms`, the weights of the second and third layer, and the norms'
/// parameters. Two runs give the same bits.
at::Tensor mean_over_fused_edges(const EdgeConvLayers& layers, const at::Tensor& terms, FusedNodes nodes,
                                 const TrainingKind& kind);

/// How an evaluation is computed; the results of both tiles are the same bits.
struct EvaluationKind {
  device::Precision precision;  ///< of edges and their products
  int tile_nodes = 8;           ///< of a block (edge_tiles.hpp)
};

/// Whether nothing asks for what `evaluated_mean` leaves out: gradients, statistics of the batch.
bool is_evaluation(const EdgeConvLayers& layers, const at::Tensor& terms);

/// The same mean in one launch that stores no edge: operands of products are rounded as there, sums between layers are
/// not, terms are rounded as edges are. @pre is_evaluation
at::Tensor evaluated_mean(const EdgeConvLayers& layers, const at::Tensor& terms, const FusedNodes& nodes,
                          const EvaluationKind& kind);

/// What goes into a whole block, of all points.
struct BlockInputs {
  at::Tensor rows;      ///< [points, 2 C1]: terms; behind them, where there is one, the projection [C3]
  at::Tensor features;  ///< [..., Cin] float32
};
/// relu(evaluated_mean + shortcut), of padded points zero where `padding` says so, by the same launch.
/// @pre is_evaluated_block
at::Tensor evaluated_block(const EdgeConvLayers& layers, const EdgeConvShortcut& shortcut,
                           const BlockInputs& inputs, const Padding& padding, const FusedNodes& nodes,
                           const EvaluationKind& kind);

}  // namespace bunchtrain::ops::detail
