// SPDX-License-Identifier: Apache-2.0
// Pass B over the edges of an EdgeConv block, and the sums of weights that B and C leave.
#include "bunchtrain/device/detail/launch.cuh"
#include "edge_backward.cuh"

namespace bunchtrain::ops::detail {
namespace {

/// B of one block: what it holds, tile by tile.
template <class Shape>
struct ThirdTiles {
  using S = typename Shape::S;
  static constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns, kChunk = Shape::kChunk;
  using Rows3 = EdgeRows<Shape, kWidth>;
  using Rows2 = EdgeRows<Shape, kColumns>;
  using Gradients = NodeRows<Shape, kWidth>;
  using Memory = BackwardMemory<Shape>;
  static constexpr std::size_t kTileBytes =
      Memory::kWeightBytes + Memory::kActivationBytes + sizeof(S) * kTileRows * kWidth;
  static constexpr std::size_t kBytes = kTileBytes + Rows3::kBytes + Rows2::kBytes + Gradients::kBytes;

  const ThirdBackward<S>& pass;
  float share;
  Memory memory;
  Rows3 y3;
  Rows2 y2;
  Gradients gradients;
  WeightGradient<Shape> weight_gradient = {};
  FragmentSums<Shape> sums = {};

  __device__ ThirdTiles(const EdgeNodes& nodes, const ThirdBackward<S>& of, unsigned char* bytes)
      : pass(of),
        share(1 / static_cast<float>(nodes.neighbours)),
        memory(bytes),
        y3{of.y3, reinterpret_cast<typename Rows3::Chunk*>(bytes + kTileBytes)},
        y2{of.y2 + Shape::first_column(),
           reinterpret_cast<typename Rows2::Chunk*>(bytes + kTileBytes + Rows3::kBytes)},
        gradients{of.gradient, of.gradient_size, of.gradient_size,
                  reinterpret_cast<float*>(bytes + kTileBytes + Rows3::kBytes + Rows2::kBytes)} {}

  __device__ void start(const EdgeTile& tile, const TileEdges& edges) const {
    gradients.start(edges);
    y3.start(tile);
    y2.start(tile);
  }
  __device__ void fill(const EdgeTile& tile, const TileEdges& edges) const {
    fill_gradient(tile, edges);
    fill_activations(tile);
  }
  __device__ void fill_gradient(const EdgeTile& tile, const TileEdges& edges) const {
    using Own = typename Rows3::Own;
    struct Loaded {
      typename Rows3::Chunk y;
      float g[kChunk];
    };
    const OwnAffine<kChunk> third(pass.third, Own::column(), pass.product.to);
    const OwnCorrection<kChunk> correction(pass.correction, Own::column(), pass.product.to);
    fill_rows<Shape>(
        tile, memory.gradient,
        [&](int i) {
          Loaded loaded{y3.load(tile, i), {}};
          gradients.load(edges, Own::row(i), Own::column(), loaded.g);
          return loaded;
        },
        [&](const Loaded& loaded, float(&chunk)[kChunk]) {
#pragma unroll
          for (int i = 0; i < kChunk; ++i) {
            const float y = loaded.y.number(i);
            const float scaled = third.at(i, y) > 0 ? third.scale[i] * (share * loaded.g[i]) : 0;
            chunk[i] = correction.at(i, scaled, y);
          }
        });
  }
  __device__ void fill_activations(const EdgeTile& tile) const {
    const OwnAffine<kChunk> second(pass.second, Shape::first_column() + Rows2::Own::column(),
                                   pass.product.from);
    fill_rows<Shape>(
        tile, memory.activations, [&](int i) { return y2.load(tile, i); },
        [&](const typename Rows2::Chunk& y, float(&chunk)[kChunk]) {
#pragma unroll
          for (int i = 0; i < kChunk; ++i) chunk[i] = fmaxf(0, second.at(i, y.number(i)));
        });
  }
  __device__ void multiply(const EdgeTile& tile, const TileEdges&) {
    FragmentRows<Shape> before(tile, pass.y2);  // on its way while the products run
    weight_gradient.add(memory);
    FragmentC c[Shape::kM][Shape::kN] = {};
    memory.multiply(c);
    memory.mask(c);
    FragmentRows<Shape> g2(c);
    before.swap();
    sums.add_tile([&](int m, int half, int n, int odd, float& value, float& product) {
      value = g2.pairs[m][half][n].value(odd);
      product = value * before.pairs[m][half][n].value(odd);
    });
    g2.swap();
    g2.store(tile, pass.g2);
  }
};

// B.
//
//   formula    g = gradient / K where relu(bn3(y3)) passes; dz3 = scale3 g - offset3 - slope3 y3; dW3 += dz3^T a2,
//              a2 = relu(bn2(y2)); g2 = dz3 W3 where bn2(y2) passes; sums of g2 and g2 y2, of g2 as stored
//
//   tiling     a block owns kColumns columns of W3 and dW3 for all its tiles of 64 rows = 4 nodes
//
//   shared     W3 [kWidth, kColumns], dz3 [64, kWidth], a2 [64, kColumns] of S; with two stages y3 [64, kWidth], y2 [64, kColumns]
//              and the gradients of 4 nodes: 112 KB for Bf16 with 128 columns of 256 and one stage, 144 for float with 64
//
//   bound      HBM: y3, y2 and g2 once; blocks of other columns read y3 from L2
template <class Shape>
__global__ void __launch_bounds__(kPassThreads, kBackwardBlocks<Shape>)
    third_backward_kernel(EdgeNodes nodes, ThirdBackward<typename Shape::S> pass) {
  using S = typename Shape::S;
  __shared__ TileEdges edges[kListedTiles];
  auto* bytes = device::dynamic_shared<unsigned char>();
  ThirdTiles<Shape> third(nodes, pass, bytes);
  fill_weight<S, Shape::kWidth>(third.memory.weight, pass.product.weight, pass.product.to, pass.product.from,
                                0, Shape::first_column());
  const NodeTiles tiles(nodes);
  for_each_tile<Shape>(nodes, tiles, edges, third);
  third.weight_gradient.write(pass.weight_partials);
  third.sums.write(reinterpret_cast<double*>(bytes), pass.product.from, tiles.edges(), pass.partials);
}

// A thread owns one number of the weight. Bound: HBM, the partial sums once.
__global__ void __launch_bounds__(kPassThreads)
    sum_weights_kernel(const float* partials, int blocks, int width, int rows, int columns, float* gradient) {
  const int i = static_cast<int>(blockIdx.x) * kPassThreads + static_cast<int>(threadIdx.x);
  if (i >= rows * columns) return;
  float sum = 0;
  for (int block = 0; block < blocks; ++block)
    sum += partials[std::int64_t{block} * width * width + i / columns * width + i % columns];
  gradient[i] = sum;
}

}  // namespace

template <class S>
std::size_t third_backward_bytes(int width, const PassTiles& tiles) {
  return kStaticBytes + with_pass_shape<S, EdgePass::third_backward>(
                            width, tiles, []<class Shape>(Shape) { return ThirdTiles<Shape>::kBytes; });
}

template <class S>
void launch_third_backward(const EdgeNodes& nodes, const ThirdBackward<S>& pass, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(pass.cut.blocks);
  with_pass_shape<S, EdgePass::third_backward>(pass.cut.width, pass.cut.tiles, [&]<class Shape>(Shape) {
    device::launch(third_backward_kernel<Shape>,
                   {.grid = dim3(blocks, Shape::kWidth / Shape::kColumns),
                    .block = dim3(kPassThreads),
                    .shared_bytes = ThirdTiles<Shape>::kBytes,
                    .large_shared = true},
                   stream, nodes, pass);
  });
}

void launch_sum_weights(const float* weight_partials, int blocks, int width, const EdgeProduct& shape,
                        float* weight_gradient, cudaStream_t stream) {
  const auto count = static_cast<std::size_t>(shape.to) * static_cast<std::size_t>(shape.from);
  device::launch(sum_weights_kernel, {dim3(device::blocks_for(count, kPassThreads)), dim3(kPassThreads)},
                 stream, weight_partials, blocks, width, shape.to, shape.from, weight_gradient);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                      \
  template std::size_t third_backward_bytes<S>(int, const PassTiles&); \
  template void launch_third_backward(const EdgeNodes&, const ThirdBackward<S>&, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(ExactFloat)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
