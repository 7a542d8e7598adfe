// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The row that all inert edges of a batch share: u_i + v_j = 0, through the layers once, counted as often as there are
/// such edges. Nothing comes from the mean, which leaves padding out, only from the statistics.
///
/// Numbers are rounded where the passes round them, so that the row is that of an edge which they compute.

#include "fused_launch.hpp"

namespace bunchtrain::ops::detail {

/// Rows that one layer leaves to the next.
template <class S>
struct InertRow {
  const S* in;  ///< [from] in front of the batch norm; nullptr = zeros, the first layer's
  S* out;       ///< [to]
};

/// Sums of the first layer, one row of partial sums: zeros, then the number of edges.
void launch_inert_first(const double* edges, int channels, double* partials, cudaStream_t stream);

/// out = relu(bn(in)) W^T. `partials` [2 to + 1] its sums over all inert edges; may be nullptr.
template <class S>
void launch_inert_layer(const InertRow<S>& row, const EdgeAffine& affine, const EdgeProduct& product,
                        const double* edges, double* partials, cudaStream_t stream);

/// From the gradient of one edge behind the batch norm of `y` to that behind the batch norm before.
template <class S>
struct InertBackward {
  const S* gradient;  ///< [to] behind the norm's ReLU; nullptr = zeros
  const S* y;         ///< [to] in front of the norm
  const S* before;    ///< [from] in front of the norm before; nullptr = zeros
  EdgeAffine affine, affine_before;
  EdgeCorrection correction;
  EdgeProduct product;
  S* gradient_before;      ///< [from] as stored; may be nullptr
  float* weight_gradient;  ///< [to, from] that of all inert edges is added
  double* partials;        ///< [2 from + 1] sums of gradient_before, and of it times `before`
};
template <class S>
void launch_inert_backward(const InertBackward<S>& pass, const double* edges, cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
