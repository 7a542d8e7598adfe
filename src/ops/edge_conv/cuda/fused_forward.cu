// SPDX-License-Identifier: Apache-2.0
// The passes over edges of an EdgeConv block's forward half.
#include "bunchtrain/device/detail/launch.cuh"
#include "edge_pass.cuh"

namespace bunchtrain::ops::detail {

template <class S>
int fused_blocks(const EdgeNodes& nodes, int width) {
  const int columns = width == 64    ? kColumnsOf<S, 64>
                      : width == 128 ? kColumnsOf<S, 128>
                                     : kColumnsOf<S, 256>;
  return pass_blocks(most_tiles(nodes), width / columns);
}

namespace {

/// Activations of the first layer, made from its terms.
struct FirstActivations {
  FirstRows rows;

  template <class Shape, class S>
  __device__ void fill(const SharedTile<S, Shape::kWidth>& tile, const TileEdges& edges, std::int64_t,
                       const OwnAffine<Shape::kChunk>& affine) const {
    const int column = Shape::own_column();
    fill_rows<Shape>(tile, column, Shape::own_row(), Shape::kRowStep,
                     [&](int row, float(&chunk)[Shape::kChunk]) {
                       float u[Shape::kChunk] = {}, v[Shape::kChunk] = {};
                       const std::int64_t from = edges.from[row], to = edges.to[row];
                       if (from >= 0) {
                         load_channels(rows.terms + from * 2 * rows.channels, column, rows.channels, u);
                         load_channels(rows.terms + (to * 2 + 1) * rows.channels, column, rows.channels, v);
                       }
#pragma unroll
                       for (int i = 0; i < Shape::kChunk; ++i)
                         chunk[i] = from < 0 ? 0 : fmaxf(0, affine.at(i, u[i] + v[i]));
                     });
  }
  __device__ int channels() const { return rows.channels; }
};

/// Activations of a layer whose rows in front of the batch norm are stored.
template <class S>
struct StoredActivations {
  const S* y;
  int count;

  template <class Shape, class>
  __device__ void fill(const SharedTile<S, Shape::kWidth>& tile, const TileEdges& edges,
                       std::int64_t first_row, const OwnAffine<Shape::kChunk>& affine) const {
    const int column = Shape::own_column();
    fill_rows<Shape>(tile, column, Shape::own_row(), Shape::kRowStep,
                     [&](int row, float(&chunk)[Shape::kChunk]) {
                       float x[Shape::kChunk] = {};
                       const bool exists = edges.from[row] >= 0;
                       if (exists) load_edge(y + (first_row + row) * Shape::kWidth + column, x);
#pragma unroll
                       for (int i = 0; i < Shape::kChunk; ++i)
                         chunk[i] = exists ? fmaxf(0, affine.at(i, x[i])) : 0;
                     });
  }
  __device__ int channels() const { return count; }
};

// F2 and F3.
//
//   formula    y = relu(bn(x)) W^T; sums of y and y^2 over edges, of y as stored
//
//   tiling     a block owns kColumns columns of W for all its tiles, a tile is 64 rows = 4 nodes; a warp owns
//              32 rows and a quarter of the columns
//
//   shared     W [kColumns, kWidth] and activations [64, kWidth] of S: 96 KB at most for Bf16, 128 for float
//
//   bound      HBM: x (not of the first layer) and y once
template <class Shape, class S, class Activations>
__global__ void __launch_bounds__(kPassThreads)
    forward_layer_kernel(EdgeNodes nodes, Activations activations, EdgeAffine affine, EdgeProduct product,
                         S* y, double* partials) {
  constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns;
  __shared__ TileEdges edges;
  __shared__ double shared_sums[2 * kPassThreads];
  S* memory = device::dynamic_shared<S>();
  const SharedTile<S, kWidth> weight{memory}, input{memory + kColumns * kWidth};
  const SharedTile<S, kColumns> output{input.data};
  const int first_column = Shape::first_column();
  fill_weight<S, kColumns>(weight, product.weight, product.to, product.from, first_column, 0);
  const OwnAffine<Shape::kChunk> own_affine(affine, Shape::own_column(), activations.channels());
  const std::int64_t count = nodes.first_node[nodes.sets];
  ColumnSums<kColumns> sums;
  for (std::int64_t first = std::int64_t{blockIdx.x} * kTileNodes; first < count;
       first += std::int64_t{gridDim.x} * kTileNodes) {
    const std::int64_t first_row = first * kEdgesOfNode;
    list_edges(nodes, first, count, edges);
    __syncthreads();
    activations.template fill<Shape, S>(input, edges, first_row, own_affine);
    __syncthreads();
    FragmentC c[Shape::kM][Shape::kN] = {};
    add_products<S, kWidth>(
        c, [&](int m, int depth) { return load_a(input, Shape::warp_row() + 16 * m, depth); },
        [&](int n, int depth) { return load_b(weight, Shape::warp_column() + 16 * n, depth); });
    __syncthreads();
    for_values(c, [&](int row, int column, float value) {
      device::narrow(value, *output.at(Shape::warp_row() + row, Shape::warp_column() + column));
    });
    __syncthreads();
    sums.add_tile([&](int row, int column, float& value, float& square) {
      value = device::widened(*output.at(row, column));
      square = value * value;
    });
    constexpr int kChunks = kColumns / Shape::kChunk;
    for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kChunks; i += kPassThreads) {
      const int row = i / kChunks, column = i % kChunks * Shape::kChunk;
      if (first + row / kEdgesOfNode >= count) continue;
      using Chunk = device::Pack<S, Shape::kChunk>;
      *reinterpret_cast<Chunk*>(y + (first_row + row) * kWidth + first_column + column) =
          *reinterpret_cast<const Chunk*>(output.at(row, column));
    }
  }
  if (partials) sums.write(shared_sums, first_column, product.to, edges_of_block(nodes, count), partials);
}

template <class S, int kWidth>
constexpr std::size_t kLayerBytes = (kColumnsOf<S, kWidth> + kTileRows) * kWidth * sizeof(S);

template <class S, int kWidth, class Activations>
void launch_layer(const EdgeNodes& nodes, const Activations& activations, const EdgeAffine& affine,
                  const EdgeProduct& product, S* y, double* partials, cudaStream_t stream) {
  constexpr int kColumns = kColumnsOf<S, kWidth>;
  using Shape = PassShape<S, kWidth, kColumns>;
  device::launch(forward_layer_kernel<Shape, S, Activations>,
                 {.grid = dim3(static_cast<unsigned>(fused_blocks<S>(nodes, kWidth)), kWidth / kColumns),
                  .block = dim3(kPassThreads),
                  .shared_bytes = kLayerBytes<S, kWidth>,
                  .large_shared = true},
                 stream, nodes, activations, affine, product, y, partials);
}

template <class S, class Activations>
void launch_layer_of(const EdgeNodes& nodes, const Activations& activations, const EdgeAffine& affine,
                     const EdgeProduct& product, int width, S* y, double* partials, cudaStream_t stream) {
  const auto launch = width == 64    ? launch_layer<S, 64, Activations>
                      : width == 128 ? launch_layer<S, 128, Activations>
                                     : launch_layer<S, 256, Activations>;
  launch(nodes, activations, affine, product, y, partials, stream);
}

// F4. A thread owns one chunk of channels of a node. Bound: HBM, y3 once.
template <class S>
__global__ void __launch_bounds__(kPassThreads)
    mean_kernel(EdgeNodes nodes, const S* y3, EdgeAffine affine, int channels, int width, float* mean,
                PassedEdges passed) {
  constexpr int kChunk = device::kPack<S>;
  const int chunks = width / kChunk;
  const std::int64_t i = std::int64_t{blockIdx.x} * kPassThreads + threadIdx.x;
  if (i >= nodes.first_node[nodes.sets] * std::int64_t{chunks}) return;
  const std::int64_t node = i / chunks;
  const int column = static_cast<int>(i % chunks) * kChunk;
  const OwnAffine<kChunk> own(affine, column, channels);
  float sums[kChunk] = {}, raw[kChunk] = {};
  int through[kChunk] = {};
  for (int n = 0; n < nodes.neighbours; ++n) {
    float y[kChunk];
    load_edge(y3 + (node * kEdgesOfNode + n) * width + column, y);
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      const float z = own.at(j, y[j]);
      if (!(z > 0)) continue;
      sums[j] += z;
      raw[j] += y[j];
      ++through[j];
    }
  }
  for (int j = 0; j < kChunk && column + j < channels; ++j) {
    mean[std::int64_t{nodes.nodes[node]} * channels + column + j] =
        sums[j] / static_cast<float>(nodes.neighbours);
    if (!passed.count) continue;
    passed.count[node * channels + column + j] = static_cast<std::uint8_t>(through[j]);
    passed.sum[node * channels + column + j] = raw[j];
  }
}

}  // namespace

template <class S>
std::size_t fused_forward_bytes(int width) {
  const std::size_t asked = width == 64    ? kLayerBytes<S, 64>
                            : width == 128 ? kLayerBytes<S, 128>
                                           : kLayerBytes<S, 256>;
  return asked + kStaticBytes;
}

template <class S>
void launch_second_layer(const EdgeNodes& nodes, const FirstRows& first, const EdgeAffine& affine,
                         const EdgeProduct& product, int width, S* y2, double* partials,
                         cudaStream_t stream) {
  launch_layer_of(nodes, FirstActivations{first}, affine, product, width, y2, partials, stream);
}

template <class S>
void launch_third_layer(const EdgeNodes& nodes, const S* y2, const EdgeAffine& affine,
                        const EdgeProduct& product, int width, S* y3, double* partials, cudaStream_t stream) {
  launch_layer_of(nodes, StoredActivations<S>{y2, product.from}, affine, product, width, y3, partials,
                  stream);
}

template <class S>
void launch_mean(const EdgeNodes& nodes, const S* y3, const EdgeAffine& affine, int channels, int width,
                 float* mean, const PassedEdges& passed, cudaStream_t stream) {
  const std::int64_t chunks = std::int64_t{nodes.sets} * nodes.points * width / device::kPack<S>;
  const auto blocks = device::blocks_for(static_cast<std::size_t>(chunks), kPassThreads);
  device::launch(mean_kernel<S>, {dim3(blocks), dim3(kPassThreads)}, stream, nodes, y3, affine, channels,
                 width, mean, passed);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                          \
  template int fused_blocks<S>(const EdgeNodes&, int);                                                     \
  template std::size_t fused_forward_bytes<S>(int);                                                        \
  template void launch_second_layer(const EdgeNodes&, const FirstRows&, const EdgeAffine&,                 \
                                    const EdgeProduct&, int, S*, double*, cudaStream_t);                   \
  template void launch_third_layer(const EdgeNodes&, const S*, const EdgeAffine&, const EdgeProduct&, int, \
                                   S*, double*, cudaStream_t);                                             \
  template void launch_mean(const EdgeNodes&, const S*, const EdgeAffine&, int, int, float*,               \
                            const PassedEdges&, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(ExactFloat)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
