// SPDX-License-Identifier: Apache-2.0
// The edge part of an EdgeConv block in one launch, for networks that are evaluated.
#include "bunchtrain/device/detail/launch.cuh"
#include "edge_pass.cuh"

namespace bunchtrain::ops::detail {
namespace {

/// A tile's rows and the columns of a weight that are in shared memory with it: 160 KB at most.
template <class S, int kWidthOf, int kNodesOf>
struct EvaluationShape {
  static constexpr bool kNarrow = sizeof(S) == 2;
  static constexpr int kWidth = kWidthOf;
  static constexpr int kNodes = kNodesOf;
  static constexpr int kRows = kNodes * kEdgesOfNode;
  static constexpr int kColumns = kNarrow ? (kWidth == 128 ? 128 : 64) : (kWidth == 256 ? 32 : 64);
  static constexpr int kChunk = device::kPack<S>;
  static constexpr int kChunks = kWidth / kChunk;  ///< of a row
  /// Fragments of a warp: four warps share the rows of a tile, two the columns.
  static constexpr int kM = kRows / 64, kN = kColumns / 16;
  static constexpr std::size_t kBytes = std::size_t{2 * kRows + kColumns} * kWidth * sizeof(S);

  static __device__ int warp_row() { return static_cast<int>(threadIdx.x) / 32 / 2 * 16 * kM; }
  static __device__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % 2 * 8 * kN; }
};

/// The terms of points in rows of S.
template <class S>
struct PointRows {
  const S* data;
  int row_size, channels;

  /// A chunk of u (`part` 0) or v (`part` = channels); zeros behind the last channel.
  template <int kChunk>
  __device__ void load(std::int64_t point, int part, int column, float (&x)[kChunk]) const {
    const S* row = data + point * row_size + part;
    if (row_size % kChunk == 0 && channels % kChunk == 0) {
      if (column < channels) load_edge(row + column, x);
      return;
    }
#pragma unroll
    for (int i = 0; i < kChunk; ++i)
      if (column + i < channels) x[i] = device::widened(row[column + i]);
  }
};

/// The first layer's activations of a tile.
template <class Shape, class S>
__device__ void fill_first(const SharedTile<S, Shape::kWidth>& tile, const EdgeEnds<Shape::kRows>& edges,
                           const EdgeEvaluation<S>& evaluation) {
  constexpr int kChunk = Shape::kChunk;
  const int column = static_cast<int>(threadIdx.x) % Shape::kChunks * kChunk;
  const PointRows<S> rows{evaluation.rows, evaluation.row_size, evaluation.channels[0]};
  const OwnAffine<kChunk> own(evaluation.affines[0], column, rows.channels);
  for (int row = static_cast<int>(threadIdx.x) / Shape::kChunks; row < Shape::kRows;
       row += kPassThreads / Shape::kChunks) {
    float u[kChunk] = {}, v[kChunk] = {}, chunk[kChunk];
    const std::int64_t from = edges.from[row], to = edges.to[row];
    if (from >= 0) {
      rows.load(from, 0, column, u);
      rows.load(to, rows.channels, column, v);
    }
#pragma unroll
    for (int i = 0; i < kChunk; ++i) chunk[i] = from < 0 ? 0 : fmaxf(0, own.at(i, u[i] + v[i]));
    store_edge(chunk, tile.at(row, column));
  }
}

/// Rows [first, first + kColumns) of a weight.
template <class Shape, class S>
__device__ void load_weight(const SharedTile<S, Shape::kWidth>& tile, const S* weight, int first) {
  using Chunk = device::Pack<S, Shape::kChunk>;
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kColumns * Shape::kChunks; i += kPassThreads) {
    const int row = i / Shape::kChunks, column = i % Shape::kChunks * Shape::kChunk;
    *reinterpret_cast<Chunk*>(tile.at(row, column)) =
        *reinterpret_cast<const Chunk*>(weight + (first + row) * Shape::kWidth + column);
  }
}

/// Batch norm and ReLU of one column; zero behind the last channel.
struct ColumnAffine {
  float scale = 0, shift = 0;

  __device__ ColumnAffine(const EdgeAffine& affine, int column, int channels) {
    if (column >= channels) return;
    scale = affine.scale[column];
    shift = affine.shift[column];
  }
  __device__ float activation(float y) const { return fmaxf(0, y * scale + shift); }
};

/// Activations of kColumns columns of the next layer, from `first` on.
template <class Shape, class S>
__device__ void store_activations(const FragmentC (&c)[Shape::kM][Shape::kN], const EdgeAffine& affine,
                                  int channels, int first, const SharedTile<S, Shape::kWidth>& tile) {
  const int group = lane_of_warp() / 4, place = lane_of_warp() % 4;
#pragma unroll
  for (int n = 0; n < Shape::kN; ++n) {
    const int column = first + Shape::warp_column() + 8 * n + 2 * place;
    const ColumnAffine even(affine, column, channels), odd(affine, column + 1, channels);
#pragma unroll
    for (int m = 0; m < Shape::kM; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float two[2] = {even.activation(c[m][n].values[2 * half]),
                              odd.activation(c[m][n].values[2 * half + 1])};
        store_edge(two, tile.at(Shape::warp_row() + 16 * m + group + 8 * half, column));
      }
  }
}

/// One number of the output from that of the mean.
template <class S>
__device__ void write_out(const EdgeEvaluation<S>& evaluation, std::int64_t point, int column, float mean) {
  const int channels = evaluation.channels[2];
  float value = mean;
  if (evaluation.whole) {
    const BlockShortcut<S>& shortcut = evaluation.shortcut;
    if (shortcut.features)
      value += shortcut.features[point * channels + column];
    else
      value += device::widened(
                   evaluation.rows[point * evaluation.row_size + 2 * evaluation.channels[0] + column]) *
                   shortcut.affine.scale[column] +
               shortcut.affine.shift[column];
    if (value < 0 || (shortcut.mask && !shortcut.mask[point])) value = 0;  // NaN stays
  }
  evaluation.out[point * channels + column] = value;
}

/// The mean over a node's edges, which are the 16 rows of a fragment, and what the block makes of it.
template <class Shape, class S>
__device__ void write_means(const FragmentC (&c)[Shape::kM][Shape::kN], const EdgeEvaluation<S>& evaluation,
                            int first, int neighbours, const EdgeEnds<Shape::kRows>& edges) {
  const EdgeAffine& affine = evaluation.affines[2];
  const int channels = evaluation.channels[2];
  const int group = lane_of_warp() / 4, place = lane_of_warp() % 4;
#pragma unroll
  for (int n = 0; n < Shape::kN; ++n)
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) {
      const int column = first + Shape::warp_column() + 8 * n + 2 * place + odd;
      const ColumnAffine own(affine, column, channels);
#pragma unroll
      for (int m = 0; m < Shape::kM; ++m) {
        float sum = 0;
        if (group < neighbours) sum += own.activation(c[m][n].values[odd]);
        if (group + 8 < neighbours) sum += own.activation(c[m][n].values[2 + odd]);
        for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
        const std::int64_t point = edges.from[Shape::warp_row() + 16 * m];
        if (group == 0 && point >= 0 && column < channels)
          write_out(evaluation, point, column, sum / static_cast<float>(neighbours));
      }
    }
}

/// Products of a tile with a weight, `use(c, column)` for kColumns columns at a time up to `end`.
template <class Shape, class S, class Use>
__device__ void multiply_columns(const SharedTile<S, Shape::kWidth>& input,
                                 const SharedTile<S, Shape::kWidth>& tile, const S* weight, int end,
                                 Use use) {
  for (int column = 0; column < end; column += Shape::kColumns) {
    load_weight<Shape, S>(tile, weight, column);
    __syncthreads();
    FragmentC c[Shape::kM][Shape::kN] = {};
    add_products<S, Shape::kWidth>(
        c, [&](int m, int depth) { return load_a(input, Shape::warp_row() + 16 * m, depth); },
        [&](int n, int depth) { return load_b(tile, Shape::warp_column() + 16 * n, depth); });
    use(c, column);
    __syncthreads();
  }
}

// F2 to F4 at once.
//
//   formula    mean over edges of relu(bn3(relu(bn2(relu(bn1(u_i + v_j)) W2^T)) W3^T)); of a whole block
//              relu(mean + bn(s_i)) or relu(mean + x_i), zero outside of the mask
//
//   tiling     a block owns a tile of 8 or 4 nodes (float: 4), 16 rows each, and goes through the columns of W2, then of W3; a
//              warp owns a quarter of the rows and half of the columns that are there
//
//   shared     activations of two layers [rows, kWidth] and kColumns columns of a weight, of S: 160 KB at most
//
//   bound      tensor cores, 4 kWidth^2 operations per edge; rows of points and both weights come from the L2
//              cache, the weights once per tile. Of memory per point: its row, and C3 floats written
template <class Shape, class S>
__global__ void __launch_bounds__(kPassThreads)
    evaluation_kernel(EdgeNodes nodes, EdgeEvaluation<S> evaluation) {
  constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns;
  __shared__ EdgeEnds<Shape::kRows> edges;
  S* memory = device::dynamic_shared<S>();
  const SharedTile<S, kWidth> weight{memory}, first{memory + kColumns * kWidth},
      second{first.data + Shape::kRows * kWidth};
  const std::int64_t count = nodes.first_node[nodes.sets],
                     first_node = std::int64_t{blockIdx.x} * Shape::kNodes;
  if (first_node >= count) return;
  list_edges(nodes, first_node, count, edges);
  __syncthreads();
  fill_first<Shape, S>(first, edges, evaluation);
  multiply_columns<Shape, S>(first, weight, evaluation.weights[0], kWidth, [&](const auto& c, int column) {
    store_activations<Shape, S>(c, evaluation.affines[1], evaluation.channels[1], column, second);
  });
  multiply_columns<Shape, S>(
      second, weight, evaluation.weights[1], evaluation.channels[2],
      [&](const auto& c, int column) { write_means<Shape>(c, evaluation, column, nodes.neighbours, edges); });
}

template <class Shape, class S>
void launch_of_shape(const EdgeNodes& nodes, const EdgeEvaluation<S>& evaluation, cudaStream_t stream) {
  const auto points = static_cast<std::size_t>(nodes.sets) * static_cast<std::size_t>(nodes.points);
  device::launch(evaluation_kernel<Shape, S>,
                 {.grid = dim3(device::blocks_for(points, Shape::kNodes)),
                  .block = dim3(kPassThreads),
                  .shared_bytes = Shape::kBytes,
                  .large_shared = true},
                 stream, nodes, evaluation);
}

/// Calls `use` with the shape of a width and a number of nodes.
template <class S, class Use>
auto with_shape(int width, int tile_nodes, Use use) {
  const auto of_width = [&]<int kWidth>() {
    if constexpr (sizeof(S) == 2)
      if (tile_nodes == 8) return use(EvaluationShape<S, kWidth, 8>{});
    return use(EvaluationShape<S, kWidth, 4>{});
  };
  return width == 64    ? of_width.template operator()<64>()
         : width == 128 ? of_width.template operator()<128>()
                        : of_width.template operator()<256>();
}

}  // namespace

template <class S>
void launch_evaluation(const EdgeNodes& nodes, const EdgeEvaluation<S>& evaluation, cudaStream_t stream) {
  with_shape<S>(evaluation.width, evaluation.tile_nodes,
                [&]<class Shape>(Shape) { launch_of_shape<Shape>(nodes, evaluation, stream); });
}

template <class S>
std::size_t fused_evaluation_bytes(int width, int tile_nodes) {
  return with_shape<S>(width, tile_nodes,
                       []<class Shape>(Shape) { return Shape::kBytes + sizeof(EdgeEnds<Shape::kRows>); });
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                            \
  template void launch_evaluation(const EdgeNodes&, const EdgeEvaluation<S>&, cudaStream_t); \
  template std::size_t fused_evaluation_bytes<S>(int, int);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(ExactFloat)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
