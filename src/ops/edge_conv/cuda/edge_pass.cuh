// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What all passes over edges share: how blocks divide the work, which edges a tile has, rows of numbers.

#include "edge_fragments.cuh"
#include "fused_launch.hpp"

namespace bunchtrain::ops::detail {

inline constexpr int kPassThreads = 256;
inline constexpr int kTileRows = kTileNodes * kEdgesOfNode;

/// Where the rows of a tile begin and end, as points of all sets. -1: no edge is there.
template <int kRows>
struct EdgeEnds {
  std::int32_t from[kRows], to[kRows];
};

/// Of the edge that is row `row` of the nodes from `first` on, below `last`, where it begins. -1: there is none.
__device__ inline std::int32_t start_of_row(const EdgeNodes& nodes, std::int64_t first, std::int64_t last,
                                            int row) {
  const std::int64_t node = first + row / kEdgesOfNode;
  return node < last && row % kEdgesOfNode < nodes.neighbours ? nodes.nodes[node] : -1;
}
/// And where it ends.
__device__ inline std::int32_t end_of_row(const EdgeNodes& nodes, std::int32_t point, int row) {
  if (point < 0) return -1;
  return point / nodes.points * nodes.points +
         nodes.indices[std::int64_t{point} * nodes.neighbours + row % kEdgesOfNode];
}

/// The edges of the nodes [first, min(first + kRows / kEdgesOfNode, last)). Visible after a barrier.
template <int kRows>
__device__ void list_edges(const EdgeNodes& nodes, std::int64_t first, std::int64_t last,
                           EdgeEnds<kRows>& edges) {
  const int row = static_cast<int>(threadIdx.x);
  if (row >= kRows) return;
  edges.from[row] = start_of_row(nodes, first, last, row);
  edges.to[row] = end_of_row(nodes, edges.from[row], row);
}

/// N numbers of a row of `channels`, from `column` on; zeros behind its end.
template <int N>
__device__ void load_channels(const float* row, int column, int channels, float (&x)[N]) {
  if (channels % 4 == 0 && column + N <= channels) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      const auto four = *reinterpret_cast<const device::Pack<float, 4>*>(row + column + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) x[i + j] = four.values[j];
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = column + i < channels ? row[column + i] : 0.0F;
  }
}

/// N numbers of a row of which `left` are there, a multiple of 4; zeros behind its end, and if the row does not exist.
template <int N>
__device__ void load_packs(const float* row, bool exists, int left, float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; i += 4) {
    const auto four = exists && i < left ? *reinterpret_cast<const device::Pack<float, 4>*>(row + i)
                                         : device::Pack<float, 4>{};
#pragma unroll
    for (int j = 0; j < 4; ++j) x[i + j] = four.values[j];
  }
}

/// N numbers of an edge tensor's row.
template <class S, int N>
__device__ void load_edge(const S* row, float (&x)[N]) {
  const auto pack = *reinterpret_cast<const device::Pack<S, N>*>(row);
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = device::widened(pack.values[i]);
}

template <class S, int N>
__device__ void store_edge(const float (&x)[N], S* row) {
  device::Pack<S, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) device::narrow(x[i], pack.values[i]);
  *reinterpret_cast<device::Pack<S, N>*>(row) = pack;
}

/// 16 bytes of an edge tensor's row. Words, not numbers: what chooses between chunks would take narrow ones apart.
template <class S>
struct alignas(16) EdgeChunk {
  static constexpr int kPairs = device::kPack<S> / 2;
  EdgePair<S> pairs[kPairs];

  static __device__ EdgeChunk of(const float (&numbers)[2 * kPairs]) {
    EdgeChunk chunk;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) chunk.pairs[i] = EdgePair<S>::of(numbers[2 * i], numbers[2 * i + 1]);
    return chunk;
  }
  __device__ float number(int i) const { return pairs[i / 2].value(i % 2); }
};

/// A batch norm in front of a ReLU, for the channels that a thread works on.
template <int N>
struct OwnAffine {
  float scale[N], shift[N];

  __device__ OwnAffine(const EdgeAffine& affine, int column, int channels) {
    load_channels(affine.scale, column, channels, scale);
    load_channels(affine.shift, column, channels, shift);
  }
  __device__ float at(int i, float y) const { return y * scale[i] + shift[i]; }
};

/// Numbers [kRows, kColumns] of a weight [rows, columns] of float, from `row` and `column` on; zeros outside.
template <class S, int kRows, int kColumns>
__device__ void fill_weight(const SharedTile<S, kColumns>& tile, const float* weight, int rows, int columns,
                            int row, int column) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kColumns; i += kPassThreads) {
    const int r = i / kColumns, c = i % kColumns;
    const bool exists = row + r < rows && column + c < columns;
    device::narrow(exists ? weight[(row + r) * columns + column + c] : 0.0F, *tile.at(r, c));
  }
}

}  // namespace bunchtrain::ops::detail
