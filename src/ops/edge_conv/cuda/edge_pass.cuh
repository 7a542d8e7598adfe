// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the passes over edges share: how blocks divide the work, what a tile of edges is made from, sums.

#include "edge_fragments.cuh"
#include "fused_launch.hpp"

namespace bunchtrain::ops::detail {

inline constexpr int kPassThreads = 256;
inline constexpr int kTileNodes = 4;
inline constexpr int kTileRows = kTileNodes * kEdgesOfNode;

/// How wide rows are, and how many columns of the product a block owns: blockIdx.y chooses which.
template <class S, int kWidthOf, int kColumnsOf>
struct PassShape {
  static constexpr int kWidth = kWidthOf, kColumns = kColumnsOf;
  /// A thread fills one chunk of columns of every kRowStep-th row of a tile of the whole width.
  static constexpr int kChunk = device::kPack<S>;
  static constexpr int kRowStep = kPassThreads * kChunk / kWidth;
  /// Fragments of a warp: two warps share the rows of a tile, four its columns.
  static constexpr int kM = kTileRows / 32, kN = kColumns / 32;

  static __device__ int own_column() { return static_cast<int>(threadIdx.x) * kChunk % kWidth; }
  static __device__ int own_row() { return static_cast<int>(threadIdx.x) * kChunk / kWidth; }
  static __device__ int first_column() { return static_cast<int>(blockIdx.y) * kColumns; }
  static __device__ int warp_row() { return static_cast<int>(threadIdx.x) / 32 / 4 * (kTileRows / 2); }
  static __device__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % 4 * (kColumns / 4); }
};

/// Where the rows of a tile begin and end, as points of all sets. -1: no edge is there.
template <int kRows>
struct EdgeEnds {
  std::int32_t from[kRows], to[kRows];
};
using TileEdges = EdgeEnds<kTileRows>;

/// Shared memory of a pass besides what it asks for: TileEdges and the sums.
inline constexpr std::size_t kStaticBytes = sizeof(TileEdges) + 2 * kPassThreads * sizeof(double);

/// The edges of the nodes [first, min(first + kRows / kEdgesOfNode, last)). Visible after a barrier.
template <int kRows>
__device__ void list_edges(const EdgeNodes& nodes, std::int64_t first, std::int64_t last,
                           EdgeEnds<kRows>& edges) {
  const int row = static_cast<int>(threadIdx.x);
  if (row >= kRows) return;
  const std::int64_t node = first + row / kEdgesOfNode;
  const int n = row % kEdgesOfNode;
  const bool exists = node < last && n < nodes.neighbours;
  const std::int64_t point = exists ? nodes.nodes[node] : -1;
  edges.from[row] = static_cast<std::int32_t>(point);
  edges.to[row] = exists ? static_cast<std::int32_t>(point / nodes.points * nodes.points +
                                                     nodes.indices[point * nodes.neighbours + n])
                         : -1;
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

/// Fills kRowStep rows at a time: `value(row, chunk)` writes the numbers of one chunk.
template <class Shape, class S, int kColumns, class Value>
__device__ void fill_rows(const SharedTile<S, kColumns>& tile, int column, int first_row, int step,
                          Value value) {
  for (int row = first_row; row < kTileRows; row += step) {
    float chunk[Shape::kChunk];
    value(row, chunk);
    store_edge(chunk, tile.at(row, column));
  }
}

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

/// Sums over the rows of a block's tiles by column, in double; kColumns divides kPassThreads. The threads of a
/// column add the rows of their part of each tile, the parts are added in order in the end.
template <int kColumns>
struct ColumnSums {
  static constexpr int kParts = kPassThreads / kColumns, kRows = kTileRows / kParts;
  double sum = 0, product = 0;

  static __device__ int column() { return static_cast<int>(threadIdx.x) % kColumns; }
  static __device__ int first_row() { return static_cast<int>(threadIdx.x) / kColumns * kRows; }

  /// `terms(row, column, first, second)` gives what a row adds. Float within a tile.
  template <class Terms>
  __device__ void add_tile(Terms terms) {
    float tile_sum = 0, tile_product = 0;
    for (int row = first_row(); row < first_row() + kRows; ++row) {
      float first, second;
      terms(row, column(), first, second);
      tile_sum += first;
      tile_product += second;
    }
    sum += static_cast<double>(tile_sum);
    product += static_cast<double>(tile_product);
  }

  /// Writes the block's row of partial sums [2 channels + 1]; `shared` [2 * kPassThreads]. All threads come here.
  __device__ void write(double* shared, int first_column, int channels, double count,
                        double* partials) const {
    __syncthreads();
    shared[threadIdx.x] = sum;
    shared[kPassThreads + threadIdx.x] = product;
    __syncthreads();
    double* row = partials + std::int64_t{blockIdx.x} * (2 * channels + 1);
    if (threadIdx.x == 0 && first_column == 0) row[2 * channels] = count;
    const int channel = first_column + column();
    if (static_cast<int>(threadIdx.x) >= kColumns || channel >= channels) return;
    for (int half = 0; half < 2; ++half) {
      double total = 0;
      for (int part = 0; part < kParts; ++part)
        total += shared[half * kPassThreads + part * kColumns + column()];
      row[half * channels + channel] = total;
    }
  }
};

/// Edges of the tiles that a block of a grid of gridDim.x goes through.
__device__ inline double edges_of_block(const EdgeNodes& nodes, std::int64_t node_count) {
  std::int64_t own = 0;
  for (std::int64_t first = std::int64_t{blockIdx.x} * kTileNodes; first < node_count;
       first += std::int64_t{gridDim.x} * kTileNodes)
    own += node_count - first < kTileNodes ? node_count - first : kTileNodes;
  return static_cast<double>(own * nodes.neighbours);
}

/// Columns of a product in a block: tiles of both operands fit in shared memory of 99 KB (forward).
template <class S, int kWidth>
constexpr int kColumnsOf = sizeof(S) == 2 && kWidth > 64 ? 128 : 64;

/// Blocks of a pass along `units` of work, each with `parts` that share the columns.
constexpr int pass_blocks(std::int64_t units, int parts) {
  const int most = kMostPassBlocks / parts;
  return units < most ? static_cast<int>(units) : most;
}
constexpr std::int64_t most_tiles(const EdgeNodes& nodes) {
  return (std::int64_t{nodes.sets} * nodes.points + kTileNodes - 1) / kTileNodes;
}

}  // namespace bunchtrain::ops::detail
