// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The edge part of an EdgeConv block on the CPU: three layers and the mean over
/// neighbours, forward and backward.

#include <ATen/core/Tensor.h>

#include "bunchtrain/ops/edge_conv.hpp"
#include "edge_plan.hpp"

namespace bunchtrain::ops::detail {

/// [points of all sets, C3]: mean over each point's neighbours of the three layers on u_i + v_j.
///
/// `terms` [points of all sets, 2 C1] float32 or float64 holds u, then v. Edges are stored as `edge_type`
/// (that of `terms`, or bfloat16 for float32). Rows of points that the plan leaves out are zero.
/// Differentiable once in `terms`, the weights of the second and third layer, and the norms' parameters.
at::Tensor mean_over_edges(const EdgeConvLayers& layers, const at::Tensor& terms, EdgePlan plan,
                           at::ScalarType edge_type);

}  // namespace bunchtrain::ops::detail
