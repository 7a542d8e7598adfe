// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Neighbours of padded points.

#include <ATen/core/Tensor.h>

namespace bunchtrain::ops::detail {

/// `indices` [B, P, K] int32 with the rows of padded points replaced: they take the other padded points first
/// and then the real ones, each lowest index first.
///
/// The published networks shift all padded points to one far place, so that these are nearest to each other;
/// with padding in the batch-norm statistics it matters. `mask` [B, P] bool, true = real.
at::Tensor join_padding(const at::Tensor& indices, const at::Tensor& mask);

}  // namespace bunchtrain::ops::detail
