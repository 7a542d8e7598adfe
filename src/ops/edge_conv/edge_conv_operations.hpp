// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The edge part of an EdgeConv block by operations: any device, any dtype.

#include <ATen/core/Tensor.h>

#include "bunchtrain/ops/edge_conv.hpp"

namespace bunchtrain::ops::detail {

/// W = [W_a | W_b] of a layer on [x_i ; x_j - x_i], as what multiplies x_i and x_j.
struct SplitWeight {
  at::Tensor to_self, to_neighbour;  ///< W_a - W_b and W_b, [C, Cin]
};
SplitWeight split_first_layer(const at::Tensor& weight);

/// [B, P, C3]: mean over neighbours of the three layers. Follows autocast. With `recompute` only the inputs
/// are kept for backward, which runs the layers again: same values, and the running statistics move once.
at::Tensor mean_by_operations(const EdgeConvLayers& layers, const at::Tensor& features,
                              const at::Tensor& indices, const Padding& padding);

}  // namespace bunchtrain::ops::detail
