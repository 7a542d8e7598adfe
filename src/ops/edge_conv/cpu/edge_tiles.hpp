// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Loops over the edges of a few points on the CPU, one thread each: raw pointers, no LibTorch.
///
/// A point's edges are K consecutive rows of [edges, channels]. First-layer rows z = u_i + v_j are never
/// stored: they are made from [u | v] of the points whenever they are needed.

#include <cstdint>

#include "rows/cpu/affine.hpp"
#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// Some points and their neighbours.
template <class R>
struct EdgeTile {
  const R* terms;               ///< [all points, 2 channels]: u, then v
  const std::int32_t* indices;  ///< [all points, k] positions within the set
  const std::int32_t* nodes;    ///< the points of this tile, positions in `terms`
  std::int64_t node_count;
  std::int64_t points;  ///< per set
  std::int64_t k;
  std::int64_t channels;
};

/// Adds the column sums of z and z squared.
template <class R>
void add_edge_moments(const EdgeTile<R>& tile, double* sum, double* square);

/// a = max(0, z * scale + shift), one row per edge.
template <class S>
void activate_edges(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, S* a);

/// For da = gradient of a: adds g, which is da where the ReLU lets it through, to the
/// gradients of u_i and v_j.
template <class S>
void add_edge_gradients(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, const S* da,
                        Real<S>* gradients);

/// Subtracts shift + scale * z of every edge from the gradients of u_i and v_j.
template <class R>
void subtract_from_gradients(const EdgeTile<R>& tile, Affine<R> correction, R* gradients);

/// The last layer and the mean over neighbours: mean[node] = 1/k sum over edges of max(0, z * scale + shift).
template <class S>
void average_edges(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                   std::int64_t channels, Affine<Real<S>> affine, Real<S>* mean);

/// Of each point and channel, [all points, channels]: how many edges the ReLU let through, and the sum of their z.
template <class R>
struct PassedSums {
  R* count;
  R* sum;
};

/// The same mean, and what passed.
template <class S>
void average_edges(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                   std::int64_t channels, Affine<Real<S>> affine, Real<S>* mean, PassedSums<Real<S>> passed);

/// For the gradient of `mean`: adds the column sums over edges of g and g * z, g = gradient / k where
/// the ReLU lets it through.
template <class R>
void add_passed_moments(const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                        std::int64_t channels, PassedSums<R> passed, const R* gradient, double* sum,
                        double* product);

/// dz = scale * g - offset - slope * z with the same g; correction = {slope, offset}.
template <class S>
void average_backward(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                      std::int64_t channels, Affine<Real<S>> affine, const Real<S>* gradient,
                      Affine<Real<S>> correction, S* dz);

}  // namespace bunchtrain::ops::detail
