// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The edge part of an EdgeConv block by LibTorch's operations: any device, any dtype.

#include <ATen/core/Tensor.h>

#include <optional>

#include "bunchtrain/nn/edge_conv.hpp"

namespace bunchtrain::nn::detail {

/// W = [W_a | W_b] of a layer on [x_i ; x_j - x_i], as what multiplies x_i and x_j.
struct SplitWeight {
  at::Tensor to_self, to_neighbour;  ///< W_a - W_b and W_b, [C, Cin]
};
SplitWeight split_first_layer(const at::Tensor& weight);

/// The row mask of batch norms over points; nothing if all rows count.
std::optional<at::Tensor> rows_that_count(const Padding& padding);

/// [B, P, C3]: mean over neighbours of the three layers. Follows autocast. With the block's
/// `recompute` only the inputs are kept for backward, which runs the layers again: same values, and
/// the running statistics move once.
at::Tensor mean_by_operations(EdgeConvBlockImpl& block, const at::Tensor& features, const at::Tensor& indices,
                              const Padding& padding);

}  // namespace bunchtrain::nn::detail
