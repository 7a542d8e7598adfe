// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernels over rows behind raw pointers: usable without LibTorch, compiled for the host by the tests.
///
/// Rows are dense [rows, channels] of a storage type S: float, Bf16 or Fp16. All pointers are of the device,
/// all calls asynchronous on `stream`. Sums have an order that sizes and alignment alone decide: no atomics,
/// the same bits on every card.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

struct RowShape {
  std::int64_t rows, channels;
};

/// y = x * scale + shift per channel, or max(0, .) of it.
struct RowAffine {
  const float* scale;  ///< [channels]
  const float* shift;  ///< [channels]
  bool relu;
};

/// Rows of partial sums that the two kernels of moments write: 0 if there are no rows.
template <class S>
std::int64_t partial_sums(const RowShape& shape);

/// Numbers in a row of partial sums: sums and products by channel, then how many rows were counted.
constexpr std::int64_t partial_columns(std::int64_t channels) { return 2 * channels + 1; }

/// `partials` [partial_sums, partial_columns]: sums of x and of x squared over the rows that `mask` [rows]
/// counts (nullptr = all). Other rows are not read.
template <class S>
void launch_moments(const RowShape& shape, const S* x, const bool* mask, double* partials,
                    cudaStream_t stream);

/// `partials` as above: sums of g and of g * x over all rows, where g = dy, or dy where x * scale + shift > 0
/// and else 0.
template <class S>
void launch_gradient_moments(const RowShape& shape, const S* dy, const S* x, const RowAffine& affine,
                             double* partials, cudaStream_t stream);

/// y = the affine map of x.
template <class S>
void launch_normalise(const RowShape& shape, const S* x, const RowAffine& affine, S* y, cudaStream_t stream);

/// What backward subtracts in rows that count: offset + slope * x.
struct RowCorrection {
  const float* slope;   ///< [channels]
  const float* offset;  ///< [channels]
  const bool* mask;     ///< [rows] rows that count; nullptr = all
};

/// dx = scale * g - correction, with g as above.
template <class S>
void launch_normalise_backward(const RowShape& shape, const S* dy, const S* x, const RowAffine& affine,
                               const RowCorrection& correction, S* dx, cudaStream_t stream);

/// Sums over ranks need one row: `sums` [columns] of `partials` [count, columns].
void launch_sum_partials(const double* partials, std::int64_t count, std::int64_t columns, double* sums,
                         cudaStream_t stream);

/// From sums of x to what normalises it, and on with the running statistics.
struct ForwardStatistics {
  const double* partials;  ///< [num_partials, partial_columns]; nullptr = the running statistics are used
  std::int64_t num_partials, channels;
  double epsilon, momentum;
  const float *weight, *bias;         ///< [channels]
  float *running_mean, *running_var;  ///< [channels]
  bool moves_on;                      ///< the running statistics, with rows; else they stay as they are
  std::int64_t* num_batches;          ///< [] counted up if moves_on; may be nullptr
  double *mean, *inverse;             ///< [channels] written: mean, 1 / sqrt(variance + epsilon)
  double* count;                      ///< [] written: rows, at least 1. Not written without partials
  float *scale, *shift;               ///< [channels] written: weight and bias with the statistics folded in
};
void launch_forward_statistics(const ForwardStatistics& arguments, cudaStream_t stream);

/// From sums of g and g * x to the gradients of weight and bias and to what rows are corrected by.
struct BackwardStatistics {
  const double* partials;  ///< [num_partials, partial_columns] of this rank
  std::int64_t num_partials, channels;
  const double* all_ranks;  ///< [partial_columns] sums over all ranks; nullptr = the partials are all
  const double *mean, *inverse;
  const double* count;  ///< [] of the forward pass; nullptr = fixed statistics, no correction
  const float* weight;  ///< [channels]
  float *weight_gradient, *bias_gradient;  ///< [channels] written
  float *slope, *offset;                   ///< [channels] written
};
void launch_backward_statistics(const BackwardStatistics& arguments, cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
