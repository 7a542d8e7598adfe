// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the passes B and C share: backward through a batch norm, and both products with the gradient in front of it.

#include "fragment_rows.cuh"

namespace bunchtrain::ops::detail {

/// scale * g - offset - slope * y: backward through a batch norm, for the channels that a thread works on.
template <int N>
struct OwnCorrection {
  float slope[N], offset[N];

  __device__ OwnCorrection(const EdgeCorrection& correction, int column, int channels) {
    load_channels(correction.slope, column, channels, slope);
    load_channels(correction.offset, column, channels, offset);
  }
  __device__ float at(int i, float scaled, float y) const { return scaled - offset[i] - slope[i] * y; }
};

/// Products [kTileRows, kColumns] in float, in the place of a gradient of S. Chunks of 16 bytes are permuted so that
/// half a warp that stores pairs of 4 rows meets every bank once, as does one that reads a row.
template <int kColumns>
struct ProductTile {
  float* data;

  __device__ float* at(int row, int column) const {
    return data + row * kColumns + (column / 4 ^ row % 4 * 2) * 4 + column % 4;
  }
};

/// What both passes have in shared memory: a part of the weight, the activations that the weight was multiplied with, and the
/// gradient of a tile in front of the batch norm behind them.
template <class Shape>
struct BackwardMemory {
  using S = typename Shape::S;
  static constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns;
  static constexpr std::size_t kWeightBytes = sizeof(S) * kWidth * kColumns;
  static constexpr std::size_t kActivationBytes = sizeof(S) * kTileRows * kColumns;

  SharedTile<S, kColumns> weight, activations;
  SharedTile<S, kWidth> gradient;

  __device__ explicit BackwardMemory(unsigned char* bytes)
      : weight{reinterpret_cast<S*>(bytes)},
        activations{reinterpret_cast<S*>(bytes + kWeightBytes)},
        gradient{reinterpret_cast<S*>(bytes + kWeightBytes + kActivationBytes)} {}

  /// gradient W of the tile. All threads come here, with the tile filled.
  __device__ void multiply(FragmentC (&c)[Shape::kM][Shape::kN]) const {
    add_products<S, kWidth>(
        c, [&](int m, int depth) { return load_a(gradient, Shape::warp_row() + 16 * m, depth); },
        [&](int n, int depth) { return load_b_transposed(weight, Shape::warp_column() + 16 * n, depth); });
  }
  /// Leaves of c what the ReLU in front of the product let through.
  __device__ void mask(FragmentC (&c)[Shape::kM][Shape::kN]) const {
    const int group = lane_of_warp() / 4, place = lane_of_warp() % 4;
#pragma unroll
    for (int m = 0; m < Shape::kM; ++m)
#pragma unroll
      for (int n = 0; n < Shape::kN; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const auto a = *reinterpret_cast<const EdgePair<S>*>(activations.at(
              Shape::warp_row() + 16 * m + 8 * half + group, Shape::warp_column() + 8 * n + 2 * place));
#pragma unroll
          for (int odd = 0; odd < 2; ++odd)
            if (!(a.value(odd) > 0)) c[m][n].values[2 * half + odd] = 0;
        }
  }
};

/// A warp's part of the weight's gradient: a quarter of its rows, half of the block's columns.
template <class Shape>
struct WeightGradient {
  static constexpr int kM = Shape::kWidth / 64, kN = Shape::kColumns / 16;
  FragmentC values[kM][kN] = {};

  static __device__ int warp_row() { return static_cast<int>(threadIdx.x) / 32 / 2 * (Shape::kWidth / 4); }
  static __device__ int warp_column() {
    return static_cast<int>(threadIdx.x) / 32 % 2 * (Shape::kColumns / 2);
  }

  /// += dz^T a
  __device__ void add(const BackwardMemory<Shape>& memory) {
    add_products<typename Shape::S, kTileRows>(
        values,
        [&](int m, int depth) { return load_a_transposed(memory.gradient, warp_row() + 16 * m, depth); },
        [&](int n, int depth) {
          return load_b_transposed(memory.activations, warp_column() + 16 * n, depth);
        });
  }
  /// Into the block's [width, width] of `partials`.
  __device__ void write(float* partials) const {
    float* out = partials + std::int64_t{blockIdx.x} * Shape::kWidth * Shape::kWidth;
    for_values(values, [&](int row, int column, float value) {
      out[(warp_row() + row) * Shape::kWidth + Shape::first_column() + warp_column() + column] = value;
    });
  }
};

/// Two blocks on a multiprocessor: accumulators leave room for the rest in half of its registers.
template <class Shape>
constexpr int kBackwardBlocks = Shape::kWidth* Shape::kColumns <= 128 * 64 ? 2 : 1;

}  // namespace bunchtrain::ops::detail
