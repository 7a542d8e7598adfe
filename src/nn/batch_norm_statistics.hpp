// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From sums over rows to what normalises them, and back: the formulas of batch normalisation,
/// shared by all our layers.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "bunchtrain/nn/batch_norm.hpp"
#include "row_operations.hpp"

namespace bunchtrain::nn::detail {

/// Statistics of one batch norm in one forward pass; all float64 on the rows' device.
struct Statistics {
  at::Tensor mean;     ///< [C]
  at::Tensor inverse;  ///< [C] 1 / sqrt(variance + epsilon)
  at::Tensor count;    ///< [] rows of all ranks; undefined if the statistics are fixed (evaluation)
};

/// While one lives, batch norms of this thread leave their running statistics alone: a forward pass is run
/// again for the sake of its gradients.
class StatisticsReplay {
 public:
  StatisticsReplay() noexcept;
  ~StatisticsReplay();
  StatisticsReplay(const StatisticsReplay&) = delete;
  StatisticsReplay& operator=(const StatisticsReplay&) = delete;

 private:
  bool before_;
};

/// Statistics from `moments` [2, C] over `count` [1] float64 rows of this rank, summed over ranks if there is
/// a reducer. The running statistics move on (variance unbiased), unless no row counts.
Statistics batch_statistics(BatchNormImpl& norm, const at::Tensor& moments, const at::Tensor& count);
/// The running statistics.
Statistics running_statistics(const BatchNormImpl& norm);

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
RowNorm make_row_norm(BatchNormImpl& norm, const at::Tensor& rows, const at::Tensor& mask, bool relu);
/// Gradients from `gradient` [N, C] of what `row_norm` made of `rows`.
NormGradients row_norm_gradients(const RowNorm& row_norm, const at::Tensor& gradient, const at::Tensor& rows,
                                 const at::Tensor& weight, StatisticsReducer* reducer);

}  // namespace bunchtrain::nn::detail
