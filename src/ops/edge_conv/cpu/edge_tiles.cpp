// SPDX-License-Identifier: Apache-2.0
// Loops for the compiler's vectoriser; Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "edge_conv/cpu/edge_tiles.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include "edge_tile_table.hpp"
#include "edge_tiles.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
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
void edge_moments_loop(const EdgeTile<R>& tile, double* __restrict sum, double* __restrict square) {
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
void activate_loop(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, S* __restrict a) {
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
void edge_gradients_loop(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, const S* __restrict da,
                         Real<S>* gradients) {
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
void subtract_loop(const EdgeTile<R>& tile, Affine<R> correction, R* gradients) {
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

/// @tparam kPassed whether what passed is summed too
template <class S, bool kPassed>
BUNCHTRAIN_INLINE void average_points(const S* z, const std::int32_t* nodes, std::int64_t node_count,
                                      std::int64_t k, std::int64_t channels, Affine<Real<S>> affine,
                                      Real<S>* mean, PassedSums<Real<S>> passed) {
  using R = Real<S>;
  const R share = R(1) / static_cast<R>(k);
  const R* __restrict scale = affine.scale, * __restrict shift = affine.shift;
  for (std::int64_t n = 0; n < node_count; ++n) {
    const std::int64_t row = nodes[n] * channels;
    R* __restrict out = mean + row;
    R* __restrict count = kPassed ? passed.count + row : nullptr;
    R* __restrict sum = kPassed ? passed.sum + row : nullptr;
    for (std::int64_t c = 0; c < channels; ++c) {
      out[c] = 0;
      if constexpr (kPassed) count[c] = sum[c] = 0;
    }
    for (std::int64_t e = 0; e < k; ++e, z += channels) {
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const R value = load(z[c]);
        const R y = value * scale[c] + shift[c];
        out[c] += y > 0 ? y : R(0);
        if constexpr (kPassed) {
          count[c] += y > 0 ? R(1) : R(0);
          sum[c] += y > 0 ? value : R(0);
        }
      }
    }
    for (std::int64_t c = 0; c < channels; ++c) out[c] *= share;
  }
}

template <class S>
void average_loop(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                  std::int64_t channels, Affine<Real<S>> affine, Real<S>* mean) {
  average_points<S, false>(z, nodes, node_count, k, channels, affine, mean, {});
}
template <class S>
void average_passed_loop(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                         std::int64_t channels, Affine<Real<S>> affine, Real<S>* mean,
                         PassedSums<Real<S>> passed) {
  average_points<S, true>(z, nodes, node_count, k, channels, affine, mean, passed);
}

template <class R>
void passed_moments_loop(const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                         std::int64_t channels, PassedSums<R> passed, const R* gradient,
                         double* __restrict sum, double* __restrict product) {
  const R share = R(1) / static_cast<R>(k);
  for (std::int64_t n = 0; n < node_count; ++n) {
    const std::int64_t row = nodes[n] * channels;
    for (std::int64_t c = 0; c < channels; ++c) {
      const double g = gradient[row + c] * share;
      sum[c] += g * static_cast<double>(passed.count[row + c]);
      product[c] += g * static_cast<double>(passed.sum[row + c]);
    }
  }
}

template <class S>
void average_backward_loop(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                           std::int64_t channels, Affine<Real<S>> affine, const Real<S>* gradient,
                           Affine<Real<S>> correction, S* __restrict dz) {
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

template <class S>
const EdgeTileTable<S>& tile_table() {
  static constexpr EdgeTileTable<S> kTable{.moments = edge_moments_loop<Real<S>>,
                                           .subtract = subtract_loop<Real<S>>,
                                           .activate = activate_loop<S>,
                                           .gradients = edge_gradients_loop<S>,
                                           .average = average_loop<S>,
                                           .average_passed = average_passed_loop<S>,
                                           .passed_moments = passed_moments_loop<Real<S>>,
                                           .average_backward = average_backward_loop<S>};
  return kTable;
}

}  // namespace

const EdgeTileTable<float>& tiles_of_float() { return tile_table<float>(); }
const EdgeTileTable<double>& tiles_of_double() { return tile_table<double>(); }
const EdgeTileTable<Bf16>& tiles_of_bf16() { return tile_table<Bf16>(); }

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {
namespace {

HWY_EXPORT(tiles_of_float);
HWY_EXPORT(tiles_of_double);
HWY_EXPORT(tiles_of_bf16);

template <class S>
const EdgeTileTable<S>& tiles_of() {
  if constexpr (std::is_same_v<S, float>) return HWY_DYNAMIC_DISPATCH(tiles_of_float)();
  if constexpr (std::is_same_v<S, double>) return HWY_DYNAMIC_DISPATCH(tiles_of_double)();
  if constexpr (std::is_same_v<S, Bf16>) return HWY_DYNAMIC_DISPATCH(tiles_of_bf16)();
}

}  // namespace

template <class R>
void add_edge_moments(const EdgeTile<R>& tile, double* sum, double* square) {
  tiles_of<R>().moments(tile, sum, square);
}
template <class S>
void activate_edges(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, S* a) {
  tiles_of<S>().activate(tile, affine, a);
}
template <class S>
void add_edge_gradients(const EdgeTile<Real<S>>& tile, Affine<Real<S>> affine, const S* da,
                        Real<S>* gradients) {
  tiles_of<S>().gradients(tile, affine, da, gradients);
}
template <class R>
void subtract_from_gradients(const EdgeTile<R>& tile, Affine<R> correction, R* gradients) {
  tiles_of<R>().subtract(tile, correction, gradients);
}
template <class S>
void average_edges(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                   std::int64_t channels, Affine<Real<S>> affine, Real<S>* mean) {
  tiles_of<S>().average(z, nodes, node_count, k, channels, affine, mean);
}
template <class S>
void average_edges(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                   std::int64_t channels, Affine<Real<S>> affine, Real<S>* mean, PassedSums<Real<S>> passed) {
  tiles_of<S>().average_passed(z, nodes, node_count, k, channels, affine, mean, passed);
}
template <class R>
void add_passed_moments(const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                        std::int64_t channels, PassedSums<R> passed, const R* gradient, double* sum,
                        double* product) {
  tiles_of<R>().passed_moments(nodes, node_count, k, channels, passed, gradient, sum, product);
}
template <class S>
void average_backward(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                      std::int64_t channels, Affine<Real<S>> affine, const Real<S>* gradient,
                      Affine<Real<S>> correction, S* dz) {
  tiles_of<S>().average_backward(z, nodes, node_count, k, channels, affine, gradient, correction, dz);
}

#define BUNCHTRAIN_INSTANTIATE_REAL(R)                                                               \
  template void add_edge_moments<R>(const EdgeTile<R>&, double*, double*);                           \
  template void subtract_from_gradients<R>(const EdgeTile<R>&, Affine<R>, R*);                       \
  template void add_passed_moments<R>(const std::int32_t*, std::int64_t, std::int64_t, std::int64_t, \
                                      PassedSums<R>, const R*, double*, double*);
#define BUNCHTRAIN_INSTANTIATE_STORAGE(S)                                                                    \
  template void activate_edges<S>(const EdgeTile<Real<S>>&, Affine<Real<S>>, S*);                            \
  template void add_edge_gradients<S>(const EdgeTile<Real<S>>&, Affine<Real<S>>, const S*, Real<S>*);        \
  template void average_edges<S>(const S*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,    \
                                 Affine<Real<S>>, Real<S>*);                                                 \
  template void average_edges<S>(const S*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,    \
                                 Affine<Real<S>>, Real<S>*, PassedSums<Real<S>>);                            \
  template void average_backward<S>(const S*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t, \
                                    Affine<Real<S>>, const Real<S>*, Affine<Real<S>>, S*);
BUNCHTRAIN_INSTANTIATE_REAL(float)
BUNCHTRAIN_INSTANTIATE_REAL(double)
BUNCHTRAIN_INSTANTIATE_STORAGE(float)
BUNCHTRAIN_INSTANTIATE_STORAGE(double)
BUNCHTRAIN_INSTANTIATE_STORAGE(Bf16)

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
