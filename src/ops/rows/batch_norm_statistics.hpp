// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From sums over rows to what normalises them, and back: the formulas of batch normalisation.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "bunchtrain/ops/batch_norm.hpp"
#include "row_operations.hpp"

namespace bunchtrain::ops::detail {

/// Statistics of one batch norm in one forward pass; all float64 on the rows' device.
struct Statistics {
  at::Tensor mean;     ///< [C]
  at::Tensor inverse;  ///< [C] 1 / sqrt(variance + epsilon)
  at::Tensor count;    ///< [] rows of all ranks; undefined if the statistics are fixed (evaluation)
};

/// Statistics from `moments` [2, C] over `count` [1] float64 rows of this rank, summed over ranks if there is
/// a reducer. The running statistics move on (variance unbiased) if `norm` tracks, unless no row counts.
Statistics batch_statistics(const BatchNormTensors& norm, const at::Tensor& moments, const at::Tensor& count);
/// The running statistics.
Statistics running_statistics(const BatchNormTensors& norm);

/// weight and bias with the statistics folded in, for rows computed in `type`.
Normaliser make_normaliser(const Statistics& statistics, const at::Tensor& weight, const at::Tensor& bias,
                           bool relu, at::ScalarType type);

/// Gradients of a batch norm from `moments` [2, C] = sums of g and g * x of this rank.
struct NormGradients {
  at::Tensor weight, bias;  ///< [C], as the parameters; of this rank's rows
  Correction correction;    ///< zero if the statistics are fixed
};
NormGradients norm_gradients(const Statistics& statistics, const at::Tensor& weight,
                             const at::Tensor& moments, StatisticsReducer* reducer, at::ScalarType type);

/// How the rows of one forward pass are normalised.
struct RowNorm {
  Statistics statistics;
  Normaliser normaliser;
};
/// For [N, C] rows, of which those in `mask` [N] count (undefined = all): from their statistics in training,
/// which move the running ones on, else from the running statistics. Waits for no device.
RowNorm make_row_norm(const BatchNormTensors& norm, const at::Tensor& rows, const at::Tensor& mask,
                      bool relu);
/// Gradients from `gradient` [N, C] of what `row_norm` made of `rows`.
NormGradients row_norm_gradients(const RowNorm& row_norm, const at::Tensor& gradient, const at::Tensor& rows,
                                 const at::Tensor& weight, StatisticsReducer* reducer);

/// The same where kernels have left `partials` (row_cuda.hpp) of this rank: undefined in evaluation.
/// @pre has_float_parameters(norm, device of the partials)
RowNorm row_norm_of_partials(const BatchNormTensors& norm, const at::Tensor& partials, bool relu);
NormGradients row_norm_gradients_of_partials(const Statistics& statistics, const at::Tensor& weight,
                                             const at::Tensor& partials, StatisticsReducer* reducer);
/// Parameters and buffers of float32, dense, on `device`: what the kernels that finish statistics know.
bool has_float_parameters(const BatchNormTensors& norm, c10::Device device);

}  // namespace bunchtrain::ops::detail
