// SPDX-License-Identifier: Apache-2.0
// The passes over edges of an EdgeConv block's backward half.
#include "bunchtrain/device/detail/launch.cuh"
#include "edge_pass.cuh"

namespace bunchtrain::ops::detail {
namespace {

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

/// What both passes have in shared memory: a part of the weight, the gradient of a tile in front of a batch norm,
/// the activations that the weight was multiplied with, and the gradient of those.
template <class Shape, class S>
struct BackwardMemory {
  static constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns;
  static constexpr std::size_t kWeightBytes = std::size_t{kWidth} * kColumns * sizeof(S);
  static constexpr std::size_t kGradientBytes =
      kTileRows *
      (kWidth * sizeof(S) > kColumns * sizeof(float) ? kWidth * sizeof(S) : kColumns * sizeof(float));
  static constexpr std::size_t kActivationBytes = std::size_t{kTileRows} * kColumns * sizeof(S);
  static constexpr std::size_t kBytes = kWeightBytes + kGradientBytes + kActivationBytes;

  unsigned char* bytes;

  __device__ SharedTile<S, kColumns> weight() const { return {reinterpret_cast<S*>(bytes)}; }
  __device__ SharedTile<S, kWidth> gradient() const { return {reinterpret_cast<S*>(bytes + kWeightBytes)}; }
  __device__ SharedTile<S, kColumns> activations() const {
    return {reinterpret_cast<S*>(bytes + kWeightBytes + kGradientBytes)};
  }
  /// In the place of gradient(), which is done with by then.
  __device__ float& product(int row, int column) const {
    return reinterpret_cast<float*>(bytes + kWeightBytes)[row * kColumns + column];
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
  template <class S>
  __device__ void add(const SharedTile<S, Shape::kWidth>& dz, const SharedTile<S, Shape::kColumns>& a) {
    add_products<S, kTileRows>(
        values, [&](int m, int depth) { return load_a_transposed(dz, warp_row() + 16 * m, depth); },
        [&](int n, int depth) { return load_b_transposed(a, warp_column() + 16 * n, depth); });
  }
  /// Into the block's [width, width] of `partials`.
  __device__ void write(float* partials) const {
    float* out = partials + std::int64_t{blockIdx.x} * Shape::kWidth * Shape::kWidth;
    for_values(values, [&](int row, int column, float value) {
      out[(warp_row() + row) * Shape::kWidth + Shape::first_column() + warp_column() + column] = value;
    });
  }
};

/// dz W of the tile, into memory.product(). All threads come here, with the tile filled; visible on return.
template <class Shape, class S>
__device__ void multiply_by_weight(const BackwardMemory<Shape, S>& memory) {
  FragmentC c[Shape::kM][Shape::kN] = {};
  const auto dz = memory.gradient();
  const auto weight = memory.weight();
  add_products<S, Shape::kWidth>(
      c, [&](int m, int depth) { return load_a(dz, Shape::warp_row() + 16 * m, depth); },
      [&](int n, int depth) { return load_b_transposed(weight, Shape::warp_column() + 16 * n, depth); });
  __syncthreads();
  for_values(c, [&](int row, int column, float value) {
    memory.product(Shape::warp_row() + row, Shape::warp_column() + column) = value;
  });
  __syncthreads();
}

/// Calls `value(row, column, chunk)` for the chunks of the block's columns.
template <class Shape, class S, class Value>
__device__ void fill_activations(const SharedTile<S, Shape::kColumns>& tile, Value value) {
  constexpr int kChunk = Shape::kChunk, kChunks = Shape::kColumns / kChunk;
  const int column = static_cast<int>(threadIdx.x) % kChunks * kChunk;
  fill_rows<Shape>(
      tile, column, static_cast<int>(threadIdx.x) / kChunks, kPassThreads / kChunks,
      [&](int row, float(&chunk)[kChunk]) { value(row, Shape::first_column() + column, chunk); });
}

// B.
//
//   formula    g = gradient / K where relu(bn3(y3)) passes; dz3 = scale3 g - offset3 - slope3 y3; dW3 += dz3^T a2,
//              a2 = relu(bn2(y2)); g2 = dz3 W3 where bn2(y2) passes; sums of g2 and g2 y2, of g2 as stored
//
//   tiling     a block owns kColumns columns of W3 and dW3 for all its tiles of 64 rows = 4 nodes
//
//   shared     W3 [kWidth, kColumns], dz3 [64, kWidth], a2 [64, kColumns] of S: 112 KB at most for Bf16, 144 for float
//
//   bound      HBM: y3, y2 and g2 once; blocks of other columns read y3 from L2
template <class Shape, class S>
__global__ void __launch_bounds__(kPassThreads)
    third_backward_kernel(EdgeNodes nodes, ThirdBackward<S> pass) {
  constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns, kChunk = Shape::kChunk;
  __shared__ TileEdges edges;
  __shared__ double shared_sums[2 * kPassThreads];
  const BackwardMemory<Shape, S> memory{device::dynamic_shared<unsigned char>()};
  const auto dz = memory.gradient();
  const auto a2 = memory.activations();
  const auto [weight, from, to] = pass.product;
  fill_weight<S, kWidth>(memory.weight(), weight, to, from, 0, Shape::first_column());
  const float share = 1 / static_cast<float>(nodes.neighbours);
  const std::int64_t count = nodes.first_node[nodes.sets];
  WeightGradient<Shape> weight_gradient;
  ColumnSums<kColumns> sums;
  for (std::int64_t first = std::int64_t{blockIdx.x} * kTileNodes; first < count;
       first += std::int64_t{gridDim.x} * kTileNodes) {
    const std::int64_t first_row = first * kEdgesOfNode;
    list_edges(nodes, first, count, edges);
    __syncthreads();
    const int own = Shape::own_column();
    const OwnAffine<kChunk> third(pass.third, own, to);
    const OwnCorrection<kChunk> correction(pass.correction, own, to);
    fill_rows<Shape>(dz, own, Shape::own_row(), Shape::kRowStep, [&](int row, float(&chunk)[kChunk]) {
      float y[kChunk] = {}, g[kChunk] = {};
      const std::int64_t point = edges.from[row];
      if (point >= 0) {
        load_edge(pass.y3 + (first_row + row) * kWidth + own, y);
        load_channels(pass.gradient + point * to, own, to, g);
      }
#pragma unroll
      for (int i = 0; i < kChunk; ++i) {
        const float scaled = third.at(i, y[i]) > 0 ? third.scale[i] * (share * g[i]) : 0;
        chunk[i] = point < 0 ? 0 : correction.at(i, scaled, y[i]);
      }
    });
    fill_activations<Shape>(a2, [&](int row, int column, float(&chunk)[kChunk]) {
      const OwnAffine<kChunk> second(pass.second, column, from);
      float y[kChunk] = {};
      const bool exists = edges.from[row] >= 0;
      if (exists) load_edge(pass.y2 + (first_row + row) * kWidth + column, y);
#pragma unroll
      for (int i = 0; i < kChunk; ++i) chunk[i] = exists ? fmaxf(0, second.at(i, y[i])) : 0;
    });
    __syncthreads();
    weight_gradient.add(dz, a2);
    multiply_by_weight(memory);
    sums.add_tile([&](int row, int column, float& value, float& product) {
      value = product = 0;
      if (edges.from[row] < 0) return;
      const std::int64_t place = (first_row + row) * kWidth + Shape::first_column() + column;
      const bool passes = device::widened(*a2.at(row, column)) > 0;
      S stored;
      device::narrow(passes ? memory.product(row, column) : 0.0F, stored);
      pass.g2[place] = stored;
      value = device::widened(stored);
      product = value * device::widened(pass.y2[place]);
    });
    __syncthreads();
  }
  weight_gradient.write(pass.weight_partials);
  sums.write(shared_sums, Shape::first_column(), from, edges_of_block(nodes, count), pass.partials);
}

// C.
//
//   formula    dz2 = scale2 g2 - offset2 - slope2 y2; dW2 += dz2^T a1, a1 = relu(bn1(u_i + v_j)); e = dz2 W2 where
//              a1 > 0; outgoing[i] = sum_n e, incoming[j] = sum of e over the edges that lead to j, ascending
//
//   tiling     a block owns kColumns columns of W2 and dW2, for all its sets; a set goes by in tiles of 4 nodes
//
//   shared     W2 [kWidth, kColumns], dz2 [64, kWidth], a1 [64, kColumns] of S, incoming [P, kColumns] of float:
//              104 KB at most for Bf16, 176 for float
//
//   bound      HBM: g2 and y2 once; blocks of other columns read them from L2
template <class Shape, class S>
__global__ void __launch_bounds__(kPassThreads)
    second_backward_kernel(EdgeNodes nodes, SecondBackward<S> pass) {
  constexpr int kWidth = Shape::kWidth, kColumns = Shape::kColumns, kChunk = Shape::kChunk;
  __shared__ TileEdges edges;
  auto* bytes = device::dynamic_shared<unsigned char>();
  const BackwardMemory<Shape, S> memory{bytes};
  auto* incoming = reinterpret_cast<float*>(bytes + BackwardMemory<Shape, S>::kBytes);
  const auto dz = memory.gradient();
  const auto a1 = memory.activations();
  const auto [weight, from, to] = pass.product;
  fill_weight<S, kWidth>(memory.weight(), weight, to, from, 0, Shape::first_column());
  const int thread = static_cast<int>(threadIdx.x), column = thread % kColumns, part = thread / kColumns;
  constexpr int kParts = kPassThreads / kColumns;  // threads of a column share the points of a set
  const int channel = Shape::first_column() + column;
  WeightGradient<Shape> weight_gradient;
  for (int set = static_cast<int>(blockIdx.x); set < nodes.sets; set += static_cast<int>(gridDim.x)) {
    for (int i = thread; i < nodes.points * kColumns; i += kPassThreads) incoming[i] = 0;
    const std::int64_t last = nodes.first_node[set + 1];
    for (std::int64_t first = nodes.first_node[set]; first < last; first += kTileNodes) {
      const std::int64_t first_row = first * kEdgesOfNode;
      list_edges(nodes, first, last, edges);
      __syncthreads();
      const int own = Shape::own_column();
      const OwnAffine<kChunk> second(pass.second, own, to);
      const OwnCorrection<kChunk> correction(pass.correction, own, to);
      fill_rows<Shape>(dz, own, Shape::own_row(), Shape::kRowStep, [&](int row, float(&chunk)[kChunk]) {
        float y[kChunk] = {}, g[kChunk] = {};
        const bool exists = edges.from[row] >= 0;
        if (exists) {
          load_edge(pass.y2 + (first_row + row) * kWidth + own, y);
          load_edge(pass.g2 + (first_row + row) * kWidth + own, g);
        }
#pragma unroll
        for (int i = 0; i < kChunk; ++i)
          chunk[i] = exists ? correction.at(i, second.scale[i] * g[i], y[i]) : 0;
      });
      fill_activations<Shape>(a1, [&](int row, int from_column, float(&chunk)[kChunk]) {
        const OwnAffine<kChunk> affine(pass.first_affine, from_column, from);
        float u[kChunk] = {}, v[kChunk] = {};
        const std::int64_t self = edges.from[row], neighbour = edges.to[row];
        if (self >= 0) {
          load_channels(pass.first.terms + self * 2 * from, from_column, from, u);
          load_channels(pass.first.terms + (neighbour * 2 + 1) * from, from_column, from, v);
        }
#pragma unroll
        for (int i = 0; i < kChunk; ++i) chunk[i] = self < 0 ? 0 : fmaxf(0, affine.at(i, u[i] + v[i]));
      });
      __syncthreads();
      weight_gradient.add(dz, a1);
      multiply_by_weight(memory);
      const auto gradient_of = [&](int row) {
        return device::widened(*a1.at(row, column)) > 0 ? memory.product(row, column) : 0.0F;
      };
      for (int node = part; node < kTileNodes && first + node < last; node += kParts) {
        float sum = 0;
        for (int n = 0; n < nodes.neighbours; ++n) sum += gradient_of(node * kEdgesOfNode + n);
        if (channel < from) pass.outgoing[(first + node) * from + channel] = sum;
      }
      for (int row = 0; row < kTileRows; ++row)
        if (edges.to[row] >= 0 && edges.to[row] % kParts == part)
          incoming[(edges.to[row] - set * nodes.points) * kColumns + column] += gradient_of(row);
      __syncthreads();
    }
    __syncthreads();
    for (int point = part; point < nodes.points; point += kParts)
      if (channel < from)
        pass.incoming[(std::int64_t{set} * nodes.points + point) * from + channel] =
            incoming[point * kColumns + column];
    __syncthreads();
  }
  weight_gradient.write(pass.weight_partials);
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

constexpr int kSetColumns = 64;

}  // namespace

int fused_set_blocks(const EdgeNodes& nodes, int width) {
  return pass_blocks(nodes.sets, width / kSetColumns);
}

namespace {

template <class S, int kWidth>
constexpr std::size_t third_backward_bytes() {
  return BackwardMemory<PassShape<S, kWidth, kColumnsOf<S, kWidth>>, S>::kBytes;
}

template <class S, int kWidth>
constexpr std::size_t second_backward_bytes(int points) {
  return BackwardMemory<PassShape<S, kWidth, kSetColumns>, S>::kBytes +
         static_cast<std::size_t>(points) * kSetColumns * sizeof(float);
}

template <class S, int kWidth>
std::size_t backward_bytes(int points) {
  constexpr std::size_t kThird = third_backward_bytes<S, kWidth>();
  const std::size_t second = second_backward_bytes<S, kWidth>(points);
  return (second > kThird ? second : kThird) + kStaticBytes;
}

template <class S, int kWidth>
void launch_third(const EdgeNodes& nodes, const ThirdBackward<S>& pass, cudaStream_t stream) {
  constexpr int kColumns = kColumnsOf<S, kWidth>;
  using Shape = PassShape<S, kWidth, kColumns>;
  device::launch(third_backward_kernel<Shape, S>,
                 {.grid = dim3(static_cast<unsigned>(fused_blocks<S>(nodes, kWidth)), kWidth / kColumns),
                  .block = dim3(kPassThreads),
                  .shared_bytes = third_backward_bytes<S, kWidth>(),
                  .large_shared = true},
                 stream, nodes, pass);
}

template <class S, int kWidth>
void launch_second(const EdgeNodes& nodes, const SecondBackward<S>& pass, cudaStream_t stream) {
  using Shape = PassShape<S, kWidth, kSetColumns>;
  device::launch(second_backward_kernel<Shape, S>,
                 {.grid = dim3(static_cast<unsigned>(fused_set_blocks(nodes, kWidth)), kWidth / kSetColumns),
                  .block = dim3(kPassThreads),
                  .shared_bytes = second_backward_bytes<S, kWidth>(nodes.points),
                  .large_shared = true},
                 stream, nodes, pass);
}

}  // namespace

template <class S>
std::size_t fused_backward_bytes(int width, int points) {
  return width == 64    ? backward_bytes<S, 64>(points)
         : width == 128 ? backward_bytes<S, 128>(points)
                        : backward_bytes<S, 256>(points);
}

template <class S>
void launch_third_backward(const EdgeNodes& nodes, const ThirdBackward<S>& pass, cudaStream_t stream) {
  if (pass.width == 64) return launch_third<S, 64>(nodes, pass, stream);
  if (pass.width == 128) return launch_third<S, 128>(nodes, pass, stream);
  launch_third<S, 256>(nodes, pass, stream);
}

template <class S>
void launch_second_backward(const EdgeNodes& nodes, const SecondBackward<S>& pass, cudaStream_t stream) {
  if (pass.width == 64) return launch_second<S, 64>(nodes, pass, stream);
  if (pass.width == 128) return launch_second<S, 128>(nodes, pass, stream);
  launch_second<S, 256>(nodes, pass, stream);
}

void launch_sum_weights(const float* weight_partials, int blocks, int width, const EdgeProduct& shape,
                        float* weight_gradient, cudaStream_t stream) {
  const auto count = static_cast<std::size_t>(shape.to) * static_cast<std::size_t>(shape.from);
  device::launch(sum_weights_kernel, {dim3(device::blocks_for(count, kPassThreads)), dim3(kPassThreads)},
                 stream, weight_partials, blocks, width, shape.to, shape.from, weight_gradient);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                               \
  template std::size_t fused_backward_bytes<S>(int, int);                                       \
  template void launch_third_backward(const EdgeNodes&, const ThirdBackward<S>&, cudaStream_t); \
  template void launch_second_backward(const EdgeNodes&, const SecondBackward<S>&, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(ExactFloat)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
