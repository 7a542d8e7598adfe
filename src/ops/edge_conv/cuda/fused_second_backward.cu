// SPDX-License-Identifier: Apache-2.0
// Pass C over the edges of an EdgeConv block.
#include "bunchtrain/device/detail/launch.cuh"
#include "edge_backward.cuh"

namespace bunchtrain::ops::detail {
namespace {

/// What edges that lead to the points of a set sum up to, in shared memory [points, kColumns]. A warp owns every 8th point, a lane
/// some columns of each, so that no two threads meet, and goes through its edges in their order.
template <class Shape>
struct IncomingSums {
  static constexpr int kColumns = Shape::kColumns, kWarps = kPassThreads / 32;
  using Own = device::Pack<float, kColumns / 32>;
  float* data;
  int points;

  static __device__ int warp() { return static_cast<int>(threadIdx.x) / 32; }
  static __device__ int column() { return lane_of_warp() * (kColumns / 32); }
  __device__ Own& at(int point) const { return *reinterpret_cast<Own*>(data + point * kColumns + column()); }

  __device__ void clear() const {
    for (int point = warp(); point < points; point += kWarps) at(point) = {};
  }
  /// Rows of a tile whose edges lead to the warp's points, of 32 rows from `first` on.
  __device__ unsigned own_rows(const TileEdges& edges, std::int32_t set_start, int first) const {
    const std::int32_t to = edges.to[first + lane_of_warp()];
    return __ballot_sync(0xFFFFFFFFu, to >= 0 && (to - set_start) % kWarps == warp());
  }
  __device__ void add(const ProductTile<kColumns>& e, const TileEdges& edges, std::int32_t set_start) const {
    for (int first = 0; first < kTileRows; first += 32)
      for (unsigned rows = own_rows(edges, set_start, first); rows != 0; rows &= rows - 1) {
        const int row = first + __ffs(static_cast<int>(rows)) - 1;
        const Own more = *reinterpret_cast<const Own*>(e.at(row, column()));
        Own& sum = at(edges.to[row] - set_start);
#pragma unroll
        for (int i = 0; i < kColumns / 32; ++i) sum.values[i] += more.values[i];
      }
  }
  /// Into `incoming` [points of all sets, channels].
  __device__ void write(std::int64_t set_start, int channels, float* incoming) const {
    for (int point = warp(); point < points; point += kWarps) {
      const Own sum = at(point);
#pragma unroll
      for (int i = 0; i < kColumns / 32; ++i) {
        const int channel = Shape::first_column() + column() + i;
        if (channel < channels) incoming[(set_start + point) * channels + channel] = sum.values[i];
      }
    }
  }
};

/// C of one block: what it holds, tile by tile.
template <class Shape>
struct SecondTiles {
  using S = typename Shape::S;
  static constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns, kChunk = Shape::kChunk;
  using Rows = EdgeRows<Shape, kWidth>;
  using Terms = TermRows<Shape, kColumns>;
  using Memory = BackwardMemory<Shape>;
  static constexpr std::size_t kGradientBytes =
      kTileRows *
      (kWidth * sizeof(S) > kColumns * sizeof(float) ? kWidth * sizeof(S) : kColumns * sizeof(float));
  static constexpr std::size_t kTileBytes = Memory::kWeightBytes + Memory::kActivationBytes + kGradientBytes;
  static constexpr std::size_t kBytes = kTileBytes + 2 * Rows::kBytes + Terms::kBytes;  ///< and incoming sums

  const SecondBackward<S>& pass;
  int points;
  Memory memory;
  Rows g2, y2;
  Terms terms;
  IncomingSums<Shape> incoming;
  WeightGradient<Shape> weight_gradient = {};

  __device__ SecondTiles(const EdgeNodes& nodes, const SecondBackward<S>& of, unsigned char* bytes)
      : pass(of),
        points(nodes.points),
        memory(bytes),
        g2{of.g2, reinterpret_cast<typename Rows::Chunk*>(bytes + kTileBytes)},
        y2{of.y2, reinterpret_cast<typename Rows::Chunk*>(bytes + kTileBytes + Rows::kBytes)},
        terms(of.first, Shape::first_column(), bytes + kTileBytes + 2 * Rows::kBytes),
        incoming{reinterpret_cast<float*>(bytes + kBytes), nodes.points} {}

  __device__ void start(const EdgeTile& tile, const TileEdges& edges) const {
    terms.start(edges);
    g2.start(tile);
    y2.start(tile);
  }
  __device__ void fill(const EdgeTile& tile, const TileEdges& edges) const {
    fill_gradient(tile);
    fill_activations(tile, edges);
  }
  __device__ void fill_gradient(const EdgeTile& tile) const {
    struct Loaded {
      typename Rows::Chunk y, g;
    };
    const OwnAffine<kChunk> second(pass.second, Rows::Own::column(), pass.product.to);
    const OwnCorrection<kChunk> correction(pass.correction, Rows::Own::column(), pass.product.to);
    fill_rows<Shape>(
        tile, memory.gradient,
        [&](int i) {
          return Loaded{y2.load(tile, i), g2.load(tile, i)};
        },
        [&](const Loaded& loaded, float(&chunk)[kChunk]) {
#pragma unroll
          for (int i = 0; i < kChunk; ++i)
            chunk[i] = correction.at(i, second.scale[i] * loaded.g.number(i), loaded.y.number(i));
        });
  }
  __device__ void fill_activations(const EdgeTile& tile, const TileEdges& edges) const {
    const OwnAffine<kChunk> affine(pass.first_affine, Shape::first_column() + Terms::Own::column(),
                                   pass.product.from);
    fill_rows<Shape>(
        tile, memory.activations, [&](int i) { return terms.load(edges, i); },
        [&](const typename Terms::Chunk& loaded, float(&chunk)[kChunk]) {
#pragma unroll
          for (int i = 0; i < kChunk; ++i) chunk[i] = fmaxf(0, affine.at(i, loaded.u[i] + loaded.v[i]));
        });
  }
  __device__ void multiply(const EdgeTile& tile, const TileEdges& edges) {
    weight_gradient.add(memory);
    FragmentC e[Shape::kM][Shape::kN] = {};
    memory.multiply(e);
    memory.mask(e);
    const ProductTile<kColumns> product{reinterpret_cast<float*>(memory.gradient.data)};
    __syncthreads();  // the gradient has been read
    store_product(e, product);
    write_outgoing(e, tile);
    __syncthreads();
    const std::int32_t set_start = tile.set * points;
    if (tile.begins_set) incoming.clear();
    incoming.add(product, edges, set_start);
    if (tile.ends_set) incoming.write(set_start, pass.product.from, pass.incoming);
  }
  static __device__ void store_product(const FragmentC (&e)[Shape::kM][Shape::kN],
                                       const ProductTile<kColumns>& product) {
    const int group = lane_of_warp() / 4, place = lane_of_warp() % 4;
#pragma unroll
    for (int m = 0; m < Shape::kM; ++m)
#pragma unroll
      for (int n = 0; n < Shape::kN; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<device::Pack<float, 2>*>(product.at(Shape::warp_row() + 16 * m + 8 * half + group,
                                                                Shape::warp_column() + 8 * n + 2 * place)) = {
              {e[m][n].values[2 * half], e[m][n].values[2 * half + 1]}};
  }
  /// Sums over the edges that leave a node, which are the 16 rows of a fragment.
  __device__ void write_outgoing(const FragmentC (&e)[Shape::kM][Shape::kN], const EdgeTile& tile) const {
    using Own = OwnSums<Shape::kN>;
#pragma unroll
    for (int m = 0; m < Shape::kM; ++m) {
      float sums[Own::kCount];
#pragma unroll
      for (int i = 0; i < Own::kCount; ++i)
        sums[i] = e[m][i / 2].values[i % 2] + e[m][i / 2].values[2 + i % 2];
      add_over_rows<16, Own::kCount>(sums);
      const int node = Shape::warp_row() / kEdgesOfNode + m;
      if (node >= tile.nodes || !Own::is_told()) continue;
#pragma unroll
      for (int i = 0; i < Own::kOwn; ++i) {
        const int channel = Shape::first_column() + Shape::warp_column() + Own::column(i);
        if (channel < pass.product.from)
          pass.outgoing[(tile.first + node) * pass.product.from + channel] = sums[i];
      }
    }
  }
};

// C.
//
//   formula    dz2 = scale2 g2 - offset2 - slope2 y2; dW2 += dz2^T a1, a1 = relu(bn1(u_i + v_j)); e = dz2 W2 where
//              a1 > 0; outgoing[i] = sum_n e, incoming[j] = sum of e over the edges that lead to j, ascending
//
//   tiling     a block owns kColumns columns of W2 and dW2, for all its sets; a set goes by in tiles of 4 nodes
//
//   shared     W2 [kWidth, kColumns], dz2 [64, kWidth], a1 [64, kColumns] of S, incoming [P, kColumns] of float; with two stages
//              g2 and y2 [64, kWidth], v [64, kColumns] and u of 4 nodes: 104 KB for Bf16 with 64 columns of 256, 128 points
//              and one stage, 176 for float
//
//   bound      HBM: g2 and y2 once; blocks of other columns read them from L2
template <class Shape>
__global__ void __launch_bounds__(kPassThreads, kBackwardBlocks<Shape>)
    second_backward_kernel(EdgeNodes nodes, SecondBackward<typename Shape::S> pass) {
  using S = typename Shape::S;
  __shared__ TileEdges edges[kListedTiles];
  SecondTiles<Shape> second(nodes, pass, device::dynamic_shared<unsigned char>());
  fill_weight<S, Shape::kWidth>(second.memory.weight, pass.product.weight, pass.product.to, pass.product.from,
                                0, Shape::first_column());
  for_each_tile<Shape>(nodes, SetTiles(nodes), edges, second);
  second.weight_gradient.write(pass.weight_partials);
}

template <class Shape>
std::size_t bytes_of(int points) {
  return SecondTiles<Shape>::kBytes + static_cast<std::size_t>(points) * Shape::kColumns * sizeof(float);
}

}  // namespace

template <class S>
std::size_t second_backward_bytes(int width, const PassTiles& tiles, int points) {
  return kStaticBytes + with_pass_shape<S, EdgePass::second_backward>(
                            width, tiles, [&]<class Shape>(Shape) { return bytes_of<Shape>(points); });
}

template <class S>
void launch_second_backward(const EdgeNodes& nodes, const SecondBackward<S>& pass, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(pass.cut.blocks);
  with_pass_shape<S, EdgePass::second_backward>(pass.cut.width, pass.cut.tiles, [&]<class Shape>(Shape) {
    device::launch(second_backward_kernel<Shape>,
                   {.grid = dim3(blocks, Shape::kWidth / Shape::kColumns),
                    .block = dim3(kPassThreads),
                    .shared_bytes = bytes_of<Shape>(nodes.points),
                    .large_shared = true},
                   stream, nodes, pass);
  });
}

#define BUNCHTRAIN_INSTANTIATE(S)                                            \
  template std::size_t second_backward_bytes<S>(int, const PassTiles&, int); \
  template void launch_second_backward(const EdgeNodes&, const SecondBackward<S>&, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(ExactFloat)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
