// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The loops of `edge_tiles` for one instruction set.

#include <cstdint>

#include "edge_tiles.hpp"

namespace bunchtrain::ops::detail {

template <class S>
struct EdgeTileTable {
  using R = Real<S>;
  void (*moments)(const EdgeTile<R>& tile, double* sum, double* square);
  void (*subtract)(const EdgeTile<R>& tile, Affine<R> correction, R* gradients);
  void (*activate)(const EdgeTile<R>& tile, Affine<R> affine, S* a);
  void (*gradients)(const EdgeTile<R>& tile, Affine<R> affine, const S* da, R* gradients);
  void (*average)(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                  std::int64_t channels, Affine<R> affine, R* mean);
  void (*average_passed)(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                         std::int64_t channels, Affine<R> affine, R* mean, PassedSums<R> passed);
  void (*passed_moments)(const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                         std::int64_t channels, PassedSums<R> passed, const R* gradient, double* sum,
                         double* product);
  void (*average_backward)(const S* z, const std::int32_t* nodes, std::int64_t node_count, std::int64_t k,
                           std::int64_t channels, Affine<R> affine, const R* gradient, Affine<R> correction,
                           S* dz);
};

}  // namespace bunchtrain::ops::detail
