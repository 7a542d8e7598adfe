// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The EdgeConv block as the paper writes it, with LibTorch's operations and autograd: every edge feature
/// made, nothing split or fused.

#include "bunchtrain/nn/edge_conv.hpp"

namespace bunchtrain::nn {

/// [B, P, C] for the same arguments as the block's own forward; reads parameters and running
/// statistics, changes nothing.
at::Tensor reference_edge_conv(EdgeConvBlock block, const at::Tensor& features, const at::Tensor& indices,
                               const Padding& padding);

}  // namespace bunchtrain::nn
