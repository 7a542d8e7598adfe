// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sums over neighbours by LibTorch's operations, for `Kernels::libtorch`.

#include <ATen/core/Tensor.h>

namespace bunchtrain::ops::detail {

/// As `ops::gather_neighbours`, with sums of 16-bit gradients in float32. @param indices checked
at::Tensor gathered_by_libtorch(const at::Tensor& features, const at::Tensor& indices);
/// As `ops::scatter_neighbours`. @param indices checked
at::Tensor scattered_by_libtorch(const at::Tensor& edges, const at::Tensor& indices);

}  // namespace bunchtrain::ops::detail
