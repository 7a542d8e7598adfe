// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Normalisation over the rows of [N, C] tensors: fused loops on the CPU, kernels on a GPU, LibTorch's
/// operations for the dtypes that have neither (float16 on the CPU, float64 on a GPU).
///
/// `mask` [N] bool says which rows count in statistics; undefined = all. Per-channel tensors have the dtype
/// that the rows are computed in: float64 for float64, float32 for everything else. Sums are float64.

#include <ATen/core/Tensor.h>

namespace bunchtrain::ops::detail {

/// y = x * scale + shift per channel.
struct Normaliser {
  at::Tensor scale;  ///< [C]
  at::Tensor shift;  ///< [C]
  bool relu;         ///< max(0, y) instead of y
};

/// What a backward pass subtracts from scale * g in rows that count: offset + slope * x.
struct Correction {
  at::Tensor slope;   ///< [C]
  at::Tensor offset;  ///< [C]
};

/// The dtype that rows of `type` are computed in.
at::ScalarType compute_type(at::ScalarType type) noexcept;
/// Whether rows like x have kernels on the GPU that x is on.
bool has_cuda_kernels(const at::Tensor& x) noexcept;

/// [2, C] float64: column sums of x and x squared over the rows that count.
at::Tensor row_moments(const at::Tensor& x, const at::Tensor& mask);
/// x normalised, in the dtype of x.
at::Tensor normalise_rows(const at::Tensor& x, const Normaliser& normaliser);
/// [2, C] float64: column sums of g and g * x over all rows; g is dy where the ReLU lets it through.
at::Tensor row_gradient_moments(const at::Tensor& dy, const at::Tensor& x, const Normaliser& normaliser);
/// Gradient of x: scale * g, less the correction in rows that count.
at::Tensor normalise_rows_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mask,
                                   const Normaliser& normaliser, const Correction& correction);

}  // namespace bunchtrain::ops::detail
