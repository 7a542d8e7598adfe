// SPDX-License-Identifier: Apache-2.0
// The passes over edges of an EdgeConv block's forward half.
#include "bunchtrain/device/detail/launch.cuh"
#include "fragment_rows.cuh"

namespace bunchtrain::ops::detail {
namespace {

/// Activations of the first layer, made from its terms.
template <class Shape>
struct FirstActivations {
  using Rows = TermRows<Shape, Shape::kWidth>;
  Rows rows;

  __device__ FirstActivations(const FirstRows& first, unsigned char* staged) : rows(first, 0, staged) {}
  __device__ void start(const EdgeTile&, const TileEdges& edges) const { rows.start(edges); }
  __device__ auto load(const EdgeTile&, const TileEdges& edges, int i) const { return rows.load(edges, i); }
  static __device__ float at(const typename Rows::Chunk& chunk, int i) { return chunk.u[i] + chunk.v[i]; }
};

/// Activations of a layer whose rows in front of the batch norm are stored.
template <class Shape>
struct StoredActivations {
  using Rows = EdgeRows<Shape, Shape::kWidth>;
  Rows rows;

  __device__ StoredActivations(const typename Shape::S* y, unsigned char* staged)
      : rows{y, reinterpret_cast<typename Rows::Chunk*>(staged)} {}
  __device__ void start(const EdgeTile& tile, const TileEdges&) const { rows.start(tile); }
  __device__ auto load(const EdgeTile& tile, const TileEdges&, int i) const { return rows.load(tile, i); }
  static __device__ float at(const typename Rows::Chunk& chunk, int i) { return chunk.number(i); }
};

template <class Shape>
struct LayerMemory {
  using S = typename Shape::S;
  static constexpr std::size_t kWeightBytes = sizeof(S) * Shape::kColumns * Shape::kWidth;
  static constexpr std::size_t kInputBytes = sizeof(S) * kTileRows * Shape::kWidth;
  static constexpr std::size_t kTileBytes = kWeightBytes + kInputBytes;
};

/// F2 or F3 of one block.
template <class Shape, class Activations>
struct ForwardLayer {
  using S = typename Shape::S;
  SharedTile<S, Shape::kWidth> weight, input;
  Activations activations;
  OwnAffine<Shape::kChunk> affine;
  S* y;
  FragmentSums<Shape> sums = {};

  __device__ void start(const EdgeTile& tile, const TileEdges& edges) const {
    activations.start(tile, edges);
  }
  __device__ void fill(const EdgeTile& tile, const TileEdges& edges) const {
    fill_rows<Shape>(
        tile, input, [&](int i) { return activations.load(tile, edges, i); },
        [&](const auto& loaded, float(&chunk)[Shape::kChunk]) {
#pragma unroll
          for (int i = 0; i < Shape::kChunk; ++i)
            chunk[i] = fmaxf(0, affine.at(i, Activations::at(loaded, i)));
        });
  }
  __device__ void multiply(const EdgeTile& tile, const TileEdges&) {
    FragmentC c[Shape::kM][Shape::kN] = {};
    add_products<S, Shape::kWidth>(
        c, [&](int m, int depth) { return load_a(input, Shape::warp_row() + 16 * m, depth); },
        [&](int n, int depth) { return load_b(weight, Shape::warp_column() + 16 * n, depth); });
    FragmentRows<Shape> rows(c);
    sums.add_tile([&](int m, int half, int n, int odd, float& value, float& square) {
      value = rows.pairs[m][half][n].value(odd);
      square = value * value;
    });
    rows.swap();
    rows.store(tile, y);
  }
};

// F2 and F3.
//
//   formula    y = relu(bn(x)) W^T; sums of y and y^2 over edges, of y as stored
//
//   tiling     a block owns kColumns columns of W for all its tiles, a tile is 64 rows = 4 nodes; a warp owns
//              32 rows and a quarter of the columns
//
//   shared     W [kColumns, kWidth] and activations [64, kWidth] of S; with two stages x of the next tile, for F2 as floats:
//              96 KB for Bf16 with 128 columns of 256 and one stage, 128 for float with 64
//
//   bound      HBM: x (not of the first layer) and y once
template <class Shape, class Activations, class Rows>
__global__ void __launch_bounds__(kPassThreads, Shape::kN <= 4 ? 2 : 1)
    forward_layer_kernel(EdgeNodes nodes, Rows rows, int channels, EdgeAffine affine, EdgeProduct product,
                         typename Shape::S* y, double* partials) {
  using S = typename Shape::S;
  using Memory = LayerMemory<Shape>;
  __shared__ TileEdges edges[kListedTiles];
  auto* bytes = device::dynamic_shared<unsigned char>();
  ForwardLayer<Shape, Activations> layer{
      .weight = {reinterpret_cast<S*>(bytes)},
      .input = {reinterpret_cast<S*>(bytes + Memory::kWeightBytes)},
      .activations = {rows, bytes + Memory::kTileBytes},
      .affine = {affine, OwnChunks<Shape, Shape::kWidth>::column(), channels},
      .y = y};
  fill_weight<S, Shape::kColumns>(layer.weight, product.weight, product.to, product.from,
                                  Shape::first_column(), 0);
  const NodeTiles tiles(nodes);
  for_each_tile<Shape>(nodes, tiles, edges, layer);
  if (partials) layer.sums.write(reinterpret_cast<double*>(bytes), product.to, tiles.edges(), partials);
}

template <class Shape, class Activations>
constexpr std::size_t kLayerBytes = LayerMemory<Shape>::kTileBytes + Activations::Rows::kBytes;

template <class Shape, class Activations, class Rows>
void launch_layer(const EdgeNodes& nodes, const Rows& rows, const EdgeAffine& affine,
                  const EdgeProduct& product, int blocks, typename Shape::S* y, double* partials,
                  cudaStream_t stream) {
  device::launch(forward_layer_kernel<Shape, Activations, Rows>,
                 {.grid = dim3(static_cast<unsigned>(blocks), Shape::kWidth / Shape::kColumns),
                  .block = dim3(kPassThreads),
                  .shared_bytes = kLayerBytes<Shape, Activations>,
                  .large_shared = true},
                 stream, nodes, rows, product.from, affine, product, y, partials);
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
std::size_t forward_bytes(EdgePass pass, int width, const PassTiles& tiles) {
  const auto asked =
      pass == EdgePass::second_layer
          ? with_pass_shape<S, EdgePass::second_layer>(
                width, tiles, []<class Shape>(Shape) { return kLayerBytes<Shape, FirstActivations<Shape>>; })
          : with_pass_shape<S, EdgePass::third_layer>(width, tiles, []<class Shape>(Shape) {
              return kLayerBytes<Shape, StoredActivations<Shape>>;
            });
  return asked + kStaticBytes;
}

template <class S>
void launch_second_layer(const EdgeNodes& nodes, const FirstRows& first, const EdgeAffine& affine,
                         const EdgeProduct& product, const PassCut& cut, S* y2, double* partials,
                         cudaStream_t stream) {
  with_pass_shape<S, EdgePass::second_layer>(cut.width, cut.tiles, [&]<class Shape>(Shape) {
    launch_layer<Shape, FirstActivations<Shape>>(nodes, first, affine, product, cut.blocks, y2, partials,
                                                 stream);
  });
}

template <class S>
void launch_third_layer(const EdgeNodes& nodes, const S* y2, const EdgeAffine& affine,
                        const EdgeProduct& product, const PassCut& cut, S* y3, double* partials,
                        cudaStream_t stream) {
  with_pass_shape<S, EdgePass::third_layer>(cut.width, cut.tiles, [&]<class Shape>(Shape) {
    launch_layer<Shape, StoredActivations<Shape>>(nodes, y2, affine, product, cut.blocks, y3, partials,
                                                  stream);
  });
}

template <class S>
void launch_mean(const EdgeNodes& nodes, const S* y3, const EdgeAffine& affine, int channels, int width,
                 float* mean, const PassedEdges& passed, cudaStream_t stream) {
  const std::int64_t chunks = std::int64_t{nodes.sets} * nodes.points * width / device::kPack<S>;
  const auto blocks = device::blocks_for(static_cast<std::size_t>(chunks), kPassThreads);
  device::launch(mean_kernel<S>, {dim3(blocks), dim3(kPassThreads)}, stream, nodes, y3, affine, channels,
                 width, mean, passed);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                     \
  template std::size_t forward_bytes<S>(EdgePass, int, const PassTiles&);                             \
  template void launch_second_layer(const EdgeNodes&, const FirstRows&, const EdgeAffine&,            \
                                    const EdgeProduct&, const PassCut&, S*, double*, cudaStream_t);   \
  template void launch_third_layer(const EdgeNodes&, const S*, const EdgeAffine&, const EdgeProduct&, \
                                   const PassCut&, S*, double*, cudaStream_t);                        \
  template void launch_mean(const EdgeNodes&, const S*, const EdgeAffine&, int, int, float*,          \
                            const PassedEdges&, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(ExactFloat)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
