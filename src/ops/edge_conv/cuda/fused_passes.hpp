// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The fused passes over the edges of a batch, on tensors: what is allocated, and in which order kernels run.
///
/// All on the current stream of the tensors' device; nothing waits for it. float32 parameters, dense.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "bunchtrain/ops/edge_conv.hpp"
#include "edge_conv/edge_layers.hpp"
#include "edge_conv/exact_float.hpp"
#include "edge_tiles.hpp"
#include "fused_launch.hpp"
#include "rows/batch_norm_statistics.hpp"

namespace bunchtrain::ops::detail {

/// Which points of a batch are computed, known to the device alone: tensors are as large as if all were.
struct FusedNodes {
  at::Tensor nodes = {}, first_node = {}, indices = {};  ///< as EdgeNodes has them
  at::Tensor inert_edges = {};                           ///< [] float64; undefined: there are none
  std::int64_t sets = 0, points = 0, neighbours = 0;

  EdgeNodes view() const;
  std::int64_t all_points() const { return sets * points; }
};

/// @param indices [B, P, K] int32. @pre K < P <= kMostFusedPoints, K <= kEdgesOfNode
FusedNodes list_nodes(const at::Tensor& indices, const Padding& padding);

/// How the passes of training are launched.
struct TrainingCut {
  TrainingTiles tiles = {};           ///< of the card; results do not depend on them
  int most_blocks = kMostPassBlocks;  ///< of a launch; sums depend on it
};

/// What a block does with the mean of an evaluation.
struct EvaluatedShortcut {
  /// [points, C3] float32, added as they are; undefined: the projection, behind u and v in `terms`.
  at::Tensor features = {};
  RowNorm norm = {};     ///< of the projection
  at::Tensor mask = {};  ///< [points] bool; undefined: no point is written as zero
};

/// One forward or backward pass of the edge part of a block, edges stored as S. Lives for one call.
///
/// Forward: first_sums, forward_layer(1), forward_layer(2), average, with `set_norm` of the layer before each; or all
/// norms and `evaluate`.
template <class S>
class FusedPasses {
 public:
  /// For an evaluation.
  FusedPasses(const FusedNodes& nodes, const EdgeLayers& layers);
  /// For training.
  FusedPasses(const FusedNodes& nodes, const EdgeLayers& layers, const TrainingCut& cut);

  /// Partial sums (row_cuda.hpp) of the first layer's rows.
  at::Tensor first_sums() const;
  /// Fills the tensor of layer 1 or 2 from the layer before; returns its partial sums, undefined if not `with_sums`.
  at::Tensor forward_layer(std::size_t layer, EdgeTensors& edges, bool with_sums) const;
  void set_norm(std::size_t layer, const RowNorm& norm) { norms_[layer] = norm; }
  /// [points, C3], zero where no node is. Fills `passed` if it is given.
  at::Tensor average(const EdgeTensors& edges, PassedTensors* passed) const;
  /// The same with all norms set before: the three layers in one launch, nothing per edge in memory. `terms` are of S here.
  /// With a shortcut (not nullptr) what the whole block gives.
  at::Tensor evaluate(int tile_nodes, const EvaluatedShortcut* shortcut) const;
  EdgeGradients backward(const at::Tensor& gradient, const EdgeTensors& edges, const PassedTensors& passed,
                         StatisticsReducer* reducer) const;

 private:
  struct Gradients;

  at::Tensor empty_sums(std::int64_t blocks, std::size_t layer, bool with_inert) const;
  double* inert_sums(const at::Tensor& sums) const;
  EdgeAffine affine(std::size_t layer) const;
  EdgeProduct product(std::size_t layer) const;
  FirstRows first_rows() const;
  PassCut cut(EdgePass pass) const;
  at::Tensor edge_tensor() const;
  at::Tensor padded_weight(std::size_t layer) const;
  void forward_inert(std::size_t layer, EdgeTensors& edges, const at::Tensor& sums) const;
  void third_backward(Gradients& g) const;
  void second_backward(Gradients& g) const;
  void first_backward(Gradients& g) const;
  void sum_weights(Gradients& g, std::size_t layer, const at::Tensor& partials) const;
  void finish_norm(Gradients& g, std::size_t layer, const at::Tensor& sums) const;

  const FusedNodes& nodes_;
  EdgeNodes view_;
  EdgeLayers layers_;
  at::Tensor padded_terms_ = {};  ///< [points, 2 parts] as FirstRows has them
  TrainingCut cut_ = {};
  std::array<int, 3> channels_;
  int width_;
  cudaStream_t stream_;
  std::array<RowNorm, 3> norms_;
};

extern template class FusedPasses<float>;
extern template class FusedPasses<ExactFloat>;
extern template class FusedPasses<Bf16>;

}  // namespace bunchtrain::ops::detail
