// SPDX-License-Identifier: Apache-2.0
#include "edge_tiles.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// Calls `call(edge, i, j)` for every edge of a tile: its row, and the points it joins.
template <class R, class Call>
BUNCHTRAIN_INLINE void for_edges(const EdgeTile<R>& tile, Call&& call) {
  std::int64_t edge = 0;
  for (std::int64_t n = 0; n < tile.node_count; ++n) {
    const std::int64_t i = tile.nodes[n];
    const std::int64_t first = i / tile.points * tile.points;
    const std::int32_t* neighbours = tile.indices + i * tile.k;
    for (std::int64_t e = 0; e < tile.k; ++e, ++edge) call(edge, i, first + neighbours[e]);
  }
}

template <class R>
BUNCHTRAIN_INLINE const R* own_term(const EdgeTile<R>& tile, std::int64_t i) {
  return tile.terms + i * 2 * tile.channels;
}
template <class R>
BUNCHTRAIN_INLINE const R* neighbour_term(const EdgeTile<R>& tile, std::int64_t j) {
  return tile.terms + j * 2 * tile.channels + tile.channels;
}

template <class R>
BUNCHTRAIN_INLINE void edge_moments_loop(const EdgeTile<R>& tile, double* __restrict sum,
                                         double* __restrict square) {
  const std::int64_t channels = tile.channels;
  for_edges(
      tile, [&](std::int64_t, std::int64_t i, std::int64_t j) __attribute__((always_inline)) {
        const R *u = own_term(tile, i), *v = neighbour_term(tile, j);
        for (std::int64_t c = 0; c < channels; ++c) {
          const double z = u[c] + v[c];
          sum[c] += z;
          square[c] += z * z;
        }
      });
}

template <class S>
BUNCHTRAIN_INLINE void activate_loop(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, S* __restrict a) {
  const std::int64_t channels = tile.channels;
  for_edges(
      tile, [&](std::int64_t edge, std::int64_t i, std::int64_t j) __attribute__((always_inline)) {
        const Real<S>*u = own_term(tile, i), *v = neighbour_term(tile, j);
        S* __restrict row = a + edge * channels;
        for (std::int64_t c = 0; c < channels; ++c) {
          const Real<S> y = (u[c] + v[c]) * affine.scale[c] + affine.shift[c];
          store(row[c], y > 0 ? y : Real<S>(0));
        }
      });
}

template <class S>
BUNCHTRAIN_INLINE void edge_gradients_loop(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine,
                                           const S* __restrict da, Real<S>* gradients) {
  const std::int64_t channels = tile.channels;
  for_edges(
      tile, [&](std::int64_t edge, std::int64_t i, std::int64_t j) __attribute__((always_inline)) {
        const Real<S>*u = own_term(tile, i), *v = neighbour_term(tile, j);
        const S* row = da + edge * channels;
        Real<S>* __restrict du = gradients + i * 2 * channels;
        Real<S>* __restrict dv = gradients + j * 2 * channels + channels;
        for (std::int64_t c = 0; c < channels; ++c) {
          const Real<S> y = (u[c] + v[c]) * affine.scale[c] + affine.shift[c];
          const Real<S> gradient = load(row[c]);
          const Real<S> g = y > 0 ? gradient : Real<S>(0);
          du[c] += g;
          dv[c] += g;
        }
      });
}

template <class R>
BUNCHTRAIN_INLINE void subtract_loop(const EdgeTile<R>& tile, Affine<R> correction, R* gradients) {
  const std::int64_t channels = tile.channels;
  for_edges(
      tile, [&](std::int64_t, std::int64_t i, std::int64_t j) __attribute__((always_inline)) {
        const R *u = own_term(tile, i), *v = neighbour_term(tile, j);
        R* __restrict du = gradients + i * 2 * channels;
        R* __restrict dv = gradients + j * 2 * channels + channels;
        for (std::int64_t c = 0; c < channels; ++c) {
          const R mean_part = correction.shift[c] + correction.scale[c] * (u[c] + v[c]);
          du[c] -= mean_part;
          dv[c] -= mean_part;
        }
      });
}

template <class S>
BUNCHTRAIN_INLINE void average_loop(const S* z, const std::int32_t* nodes, std::int64_t node_count,
                                    std::int64_t k, std::int64_t channels, Affine<Real<S>> affine,
                                    Real<S>* mean) {
  const Real<S> share = Real<S>(1) / static_cast<Real<S>>(k);
  for (std::int64_t n = 0; n < node_count; ++n) {
    Real<S>* __restrict out = mean + nodes[n] * channels;
    for (std::int64_t c = 0; c < channels; ++c) out[c] = 0;
    for (std::int64_t e = 0; e < k; ++e, z += channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const Real<S> y = load(z[c]) * affine.scale[c] + affine.shift[c];
        out[c] += y > 0 ? y : Real<S>(0);
      }
    }
    for (std::int64_t c = 0; c < channels; ++c) out[c] *= share;
  }
}

template <class S>
BUNCHTRAIN_INLINE void average_moments_loop(const S* z, const std::int32_t* nodes, std::int64_t node_count,
                                            std::int64_t k, std::int64_t channels, Affine<Real<S>> affine,
                                            const Real<S>* gradient, double* __restrict sum,
                                            double* __restrict product) {
  const Real<S> share = Real<S>(1) / static_cast<Real<S>>(k);
  for (std::int64_t n = 0; n < node_count; ++n) {
    const Real<S>* g = gradient + nodes[n] * channels;
    for (std::int64_t e = 0; e < k; ++e, z += channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const Real<S> value = load(z[c]);
        const Real<S> gradient = g[c] * share;
        const Real<S> kept = value * affine.scale[c] + affine.shift[c] > 0 ? gradient : Real<S>(0);
        const double wide = kept;
        sum[c] += wide;
        product[c] += wide * static_cast<double>(value);
      }
    }
  }
}

template <class S>
BUNCHTRAIN_INLINE void average_backward_loop(const S* z, const std::int32_t* nodes, std::int64_t node_count,
                                             std::int64_t k, std::int64_t channels, Affine<Real<S>> affine,
                                             const Real<S>* gradient, Affine<Real<S>> correction,
                                             S* __restrict dz) {
  const Real<S> share = Real<S>(1) / static_cast<Real<S>>(k);
  for (std::int64_t n = 0; n < node_count; ++n) {
    const Real<S>* g = gradient + nodes[n] * channels;
    for (std::int64_t e = 0; e < k; ++e, z += channels, dz += channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const Real<S> value = load(z[c]);
        const Real<S> gradient = g[c] * share;
        const Real<S> kept = value * affine.scale[c] + affine.shift[c] > 0 ? gradient : Real<S>(0);
        store(dz[c], affine.scale[c] * kept - correction.shift[c] - correction.scale[c] * value);
      }
    }
  }
}

// target_clones does not work on templates: one plain function per storage type, and the
// template in front of it.
#define BUNCHTRAIN_FOR_REAL(R)                                                                             \
  BUNCHTRAIN_VECTOR_CLONES void moments_of(const EdgeTile<R>& tile, double* sum, double* square) {         \
    edge_moments_loop(tile, sum, square);                                                                  \
  }                                                                                                        \
  BUNCHTRAIN_VECTOR_CLONES void subtract_of(const EdgeTile<R>& tile, Affine<R> correction, R* gradients) { \
    subtract_loop(tile, correction, gradients);                                                            \
  }
#define BUNCHTRAIN_FOR_STORAGE(S)                                                                            \
  BUNCHTRAIN_VECTOR_CLONES void activate_of(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, S* a) {   \
    activate_loop(tile, affine, a);                                                                          \
  }                                                                                                          \
  BUNCHTRAIN_VECTOR_CLONES void gradients_of(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine,          \
                                             const S* da, Real<S>* gradients) {                              \
    edge_gradients_loop(tile, affine, da, gradients);                                                        \
  }                                                                                                          \
  BUNCHTRAIN_VECTOR_CLONES void average_of(const S* z, const std::int32_t* nodes, std::int64_t node_count,   \
                                           std::int64_t k, std::int64_t channels, Affine<Real<S>> affine,    \
                                           Real<S>* mean) {                                                  \
    average_loop(z, nodes, node_count, k, channels, affine, mean);                                           \
  }                                                                                                          \
  BUNCHTRAIN_VECTOR_CLONES void average_moments_of(                                                          \
      const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k, std::int64_t channels, \
      Affine<Real<S>> affine, const Real<S>* gradient, double* sum, double* product) {                       \
    average_moments_loop(z, nodes, node_count, k, channels, affine, gradient, sum, product);                 \
  }                                                                                                          \
  BUNCHTRAIN_VECTOR_CLONES void average_backward_of(                                                         \
      const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k, std::int64_t channels, \
      Affine<Real<S>> affine, const Real<S>* gradient, Affine<Real<S>> correction, S* dz) {                  \
    average_backward_loop(z, nodes, node_count, k, channels, affine, gradient, correction, dz);              \
  }
BUNCHTRAIN_FOR_REAL(float)
BUNCHTRAIN_FOR_REAL(double)
BUNCHTRAIN_FOR_STORAGE(float)
BUNCHTRAIN_FOR_STORAGE(double)
BUNCHTRAIN_FOR_STORAGE(Bf16)

}  // namespace

template <class R>
void add_edge_moments(const EdgeTile<R>& tile, double* sum, double* square) {
  moments_of(tile, sum, square);
}
template <class S>
void activate_edges(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, S* a) {
  activate_of(tile, affine, a);
}
template <class S>
void add_edge_gradients(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, const S* da,
                        Real<S>* gradients) {
  gradients_of(tile, affine, da, gradients);
}
template <class R>
void subtract_from_gradients(const EdgeTile<R>& tile, Affine<R> correction, R* gradients) {
  subtract_of(tile, correction, gradients);
}
template <class S>
void average_edges(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                   std::int64_t channels, Affine<Real<S>> affine, Real<S>* mean) {
  average_of(z, nodes, node_count, k, channels, affine, mean);
}
template <class S>
void add_average_moments(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                         std::int64_t channels, Affine<Real<S>> affine, const Real<S>* gradient, double* sum,
                         double* product) {
  average_moments_of(z, nodes, node_count, k, channels, affine, gradient, sum, product);
}
template <class S>
void average_backward(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                      std::int64_t channels, Affine<Real<S>> affine, const Real<S>* gradient,
                      Affine<Real<S>> correction, S* dz) {
  average_backward_of(z, nodes, node_count, k, channels, affine, gradient, correction, dz);
}

#define BUNCHTRAIN_INSTANTIATE_REAL(R)                                     \
  template void add_edge_moments<R>(const EdgeTile<R>&, double*, double*); \
  template void subtract_from_gradients<R>(const EdgeTile<R>&, Affine<R>, R*);
#define BUNCHTRAIN_INSTANTIATE_STORAGE(S)                                                                    \
  template void activate_edges<S>(const EdgeTile<Real<S>>&, Affine<Real<S>>, S*);                            \
  template void add_edge_gradients<S>(const EdgeTile<Real<S>>&, Affine<Real<S>>, const S*, Real<S>*);        \
  template void average_edges<S>(const S*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,    \
                                 Affine<Real<S>>, Real<S>*);                                                 \
  template void add_average_moments<S>(const S*, const std::int32_t*, std::int64_t, std::int64_t,            \
                                       std::int64_t, Affine<Real<S>>, const Real<S>*, double*, double*);     \
  template void average_backward<S>(const S*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t, \
                                    Affine<Real<S>>, const Real<S>*, Affine<Real<S>>, S*);
BUNCHTRAIN_INSTANTIATE_REAL(float)
BUNCHTRAIN_INSTANTIATE_REAL(double)
BUNCHTRAIN_INSTANTIATE_STORAGE(float)
BUNCHTRAIN_INSTANTIATE_STORAGE(double)
BUNCHTRAIN_INSTANTIATE_STORAGE(Bf16)

}  // namespace bunchtrain::ops::detail
