// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Normalisation over rows on a GPU, below autograd: kernels on the current stream, no wait for the device.
///
/// Tensors are contiguous, of one device, and fit together; rows are float32, bfloat16 or float16.

#include <ATen/core/Tensor.h>

#include "batch_norm_statistics.hpp"

namespace bunchtrain::ops::detail {

/// [blocks, 2 C + 1] float64: sums of x, of x squared, and the count of rows, over
/// blocks of the rows that count.
at::Tensor partial_moments_cuda(const at::Tensor& x, const at::Tensor& mask);
/// [blocks, 2 C + 1] float64: sums of g, of g * x, and the count of rows.
at::Tensor partial_gradient_moments_cuda(const at::Tensor& dy, const at::Tensor& x,
                                         const Normaliser& normaliser);
/// [1, columns]: the sum over blocks.
at::Tensor sum_partials_cuda(const at::Tensor& partials);

at::Tensor normalise_rows_cuda(const at::Tensor& x, const Normaliser& normaliser);
at::Tensor normalise_rows_backward_cuda(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mask,
                                        const Normaliser& normaliser, const Correction& correction);

/// All that follows from `partials` (summed over ranks already): statistics, normaliser, and the
/// running statistics if `norm` tracks. Undefined partials = the running statistics. Parameters
/// and buffers are float32.
RowNorm finish_forward_cuda(const BatchNormTensors& norm, const at::Tensor& partials, bool relu);

/// Gradients from the `partials` of this rank and, if defined, the sums `all_ranks` [1, 2 C + 1].
NormGradients finish_backward_cuda(const Statistics& statistics, const at::Tensor& weight,
                                   const at::Tensor& partials, const at::Tensor& all_ranks);

}  // namespace bunchtrain::ops::detail
