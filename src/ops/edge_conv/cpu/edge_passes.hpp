// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The passes over the edges of a batch that an EdgeConv block makes on the CPU, cut into
/// pieces that stay in the cache.

#include <ATen/core/Tensor.h>

#include <array>

#include "edge_conv/edge_layers.hpp"
#include "edge_plan.hpp"
#include "rows/batch_norm_statistics.hpp"

namespace bunchtrain::ops::detail {

/// One forward or backward pass of the edge part of a block. Lives for one call.
///
/// Forward: first_moments, forward_layer(1), forward_layer(2), average, with `set_statistics` of the layer
/// before each. A first-layer row costs one addition per channel and is made anew each time; activations are
/// made in the cache from what is stored. All results are the same bits for any number of threads.
class EdgePasses {
 public:
  EdgePasses(const EdgePlan& plan, EdgeLayers layers, at::ScalarType edge_type);

  /// [2, C1] float64: sums and sums of squares over the edges that count, of the first layer's rows.
  at::Tensor first_moments() const;
  /// Fills the tensor of layer 1 or 2 from the layer before; returns its sums, [2, C] float64.
  at::Tensor forward_layer(std::size_t layer, EdgeTensors& edges) const;
  /// What normalises a layer from now on.
  void set_statistics(std::size_t layer, const Statistics& statistics);
  /// [points, C3]; zero for points that the plan leaves out. Fills `passed` if it is given, but for those points.
  at::Tensor average(const EdgeTensors& edges, PassedTensors* passed) const;
  /// The same with all statistics set beforehand, storing no edges at all.
  at::Tensor infer() const;
  /// Consumes `edges`: their storage takes gradients on the way.
  EdgeGradients backward(const at::Tensor& gradient, EdgeTensors edges, const PassedTensors& passed,
                         StatisticsReducer* reducer) const;

 private:
  template <class S>
  struct Loops;
  template <class Call>
  void with_loops(Call&& call) const;
  at::Tensor terms_moments(const at::Tensor& gradient) const;
  at::Tensor inert_activation(std::size_t layer, const EdgeTensors& edges) const;

  const EdgePlan& plan_;
  EdgeLayers layers_;
  at::ScalarType edge_type_;
  std::array<std::int64_t, 3> channels_;
  std::array<at::Tensor, 3> edge_weights_;  ///< in the edges' dtype
  std::array<Statistics, 3> statistics_;
  std::array<Normaliser, 3> normalisers_;
};

}  // namespace bunchtrain::ops::detail
