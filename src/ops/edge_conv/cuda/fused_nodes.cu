// SPDX-License-Identifier: Apache-2.0
// The parts of an EdgeConv block that need no edge tensor: what sums over edges become sums over nodes.
#include "bunchtrain/device/detail/launch.cuh"
#include "edge_pass.cuh"

namespace bunchtrain::ops::detail {
namespace {

/// How the threads of a block share nodes: a thread owns one channel of every kParts-th.
template <int kWidth>
struct NodeShare {
  static constexpr std::int64_t kParts = kPassThreads / kWidth;
  static __device__ int channel() { return static_cast<int>(threadIdx.x) % kWidth; }

  template <class Visit>
  static __device__ void for_each(std::int64_t count, Visit visit) {
    for (std::int64_t i = std::int64_t{blockIdx.x} * kParts + threadIdx.x / kWidth; i < count;
         i += std::int64_t{gridDim.x} * kParts)
      visit(i);
  }
};

/// Sums by channel in double; kColumns divides kPassThreads. Those of the threads of a channel are added in order.
template <int kColumns>
struct ColumnSums {
  double sum = 0, product = 0;

  /// Writes the block's row of partial sums [2 channels + 1]; `shared` [2 * kPassThreads]. All threads come here.
  __device__ void write(double* shared, int channels, double count, double* partials) const {
    shared[threadIdx.x] = sum;
    shared[kPassThreads + threadIdx.x] = product;
    __syncthreads();
    double* row = partials + std::int64_t{blockIdx.x} * (2 * channels + 1);
    if (threadIdx.x == 0) row[2 * channels] = count;
    const int channel = static_cast<int>(threadIdx.x);
    if (channel >= kColumns || channel >= channels) return;
    for (int half = 0; half < 2; ++half) {
      double total = 0;
      for (int part = 0; part < kPassThreads / kColumns; ++part)
        total += shared[half * kPassThreads + part * kColumns + channel];
      row[half * channels + channel] = total;
    }
  }
};

/// Edges of all nodes, told by the first block.
__device__ double told_edges(const EdgeNodes& nodes) {
  return blockIdx.x == 0 ? static_cast<double>(nodes.first_node[nodes.sets]) * nodes.neighbours : 0;
}

/// u_i and v_j of one channel.
struct Terms {
  FirstRows rows;
  int channel;

  __device__ float u(std::int64_t point) const { return rows.terms[point * 2 * rows.part + channel]; }
  __device__ float v(std::int64_t point) const { return rows.terms[(point * 2 + 1) * rows.part + channel]; }
};

// Sums of y = u_i + v_j and y^2. Bound: L2, v once per edge. Shared memory of all kernels here: 4 KB.
template <int kWidth>
__global__ void __launch_bounds__(kPassThreads)
    first_moments_kernel(EdgeNodes nodes, FirstRows first, double* partials) {
  __shared__ double shared[2 * kPassThreads];
  ColumnSums<kWidth> sums;
  const Terms terms{first, NodeShare<kWidth>::channel()};
  if (terms.channel < first.channels)
    NodeShare<kWidth>::for_each(nodes.first_node[nodes.sets], [&](std::int64_t node) {
      const std::int64_t point = nodes.nodes[node], set = point / nodes.points * nodes.points;
      const std::int32_t* row = nodes.indices + point * nodes.neighbours;
      const float u = terms.u(point);
      float sum = 0, square = 0;
      for (int n = 0; n < nodes.neighbours; ++n) {
        const float y = u + terms.v(set + row[n]);
        sum += y;
        square += y * y;
      }
      sums.sum += static_cast<double>(sum);
      sums.product += static_cast<double>(square);
    });
  sums.write(shared, first.channels, told_edges(nodes), partials);
}

// Sums over edges of g and g y3, g = gradient / K where the ReLU passed: the gradient is that of all K edges of a
// node. Bound: HBM, node tensors once.
template <int kWidth>
__global__ void __launch_bounds__(kPassThreads)
    mean_moments_kernel(EdgeNodes nodes, PassedEdges passed, const float* gradient, int channels,
                        double* partials) {
  __shared__ double shared[2 * kPassThreads];
  ColumnSums<kWidth> sums;
  const int channel = NodeShare<kWidth>::channel();
  if (channel < channels)
    NodeShare<kWidth>::for_each(nodes.first_node[nodes.sets], [&](std::int64_t node) {
      const std::int64_t place = node * channels + channel;
      const float g = gradient[std::int64_t{nodes.nodes[node]} * channels + channel] /
                      static_cast<float>(nodes.neighbours);
      sums.sum += static_cast<double>(g) * passed.count[place];
      sums.product += static_cast<double>(g) * static_cast<double>(passed.sum[place]);
    });
  sums.write(shared, channels, told_edges(nodes), partials);
}

// Sums over edges of e and e (u_i + v_j). Bound: HBM, tensors of points once.
template <int kWidth>
__global__ void __launch_bounds__(kPassThreads)
    terms_moments_kernel(EdgeNodes nodes, FirstRows first, const float* outgoing, const float* incoming,
                         double* partials) {
  __shared__ double shared[2 * kPassThreads];
  ColumnSums<kWidth> sums;
  const Terms terms{first, NodeShare<kWidth>::channel()};
  if (terms.channel < first.channels) {
    NodeShare<kWidth>::for_each(nodes.first_node[nodes.sets], [&](std::int64_t node) {
      const auto e = static_cast<double>(outgoing[node * first.channels + terms.channel]);
      sums.sum += e;
      sums.product += e * static_cast<double>(terms.u(nodes.nodes[node]));
    });
    NodeShare<kWidth>::for_each(std::int64_t{nodes.sets} * nodes.points, [&](std::int64_t point) {
      sums.product += static_cast<double>(incoming[point * first.channels + terms.channel]) *
                      static_cast<double>(terms.v(point));
    });
  }
  sums.write(shared, first.channels, told_edges(nodes), partials);
}

constexpr int kSetThreads = 64;

// du_i = scale E_i - sum_n c, dv_j = scale F_j - sum of c over the edges that lead to j, ascending, where
// c = offset + slope (u_i + v_j). A block owns 64 channels of a set, a thread one. Shared memory: [P, 64] of float.
// Bound: L2, v once per edge.
__global__ void __launch_bounds__(kSetThreads) first_backward_kernel(EdgeNodes nodes, FirstBackward pass) {
  float* correction = device::dynamic_shared<float>() + threadIdx.x;  // of the own channel, by point
  const int channels = pass.first.channels;
  const Terms terms{pass.first, static_cast<int>(blockIdx.y) * kSetThreads + static_cast<int>(threadIdx.x)};
  if (terms.channel >= channels) return;
  const std::int64_t set = std::int64_t{blockIdx.x} * nodes.points;
  const float scale = pass.scale[terms.channel], slope = pass.correction.slope[terms.channel],
              offset = pass.correction.offset[terms.channel];
  for (int point = 0; point < nodes.points; ++point) {
    correction[point * kSetThreads] = 0;
    pass.gradient[(set + point) * 2 * channels + terms.channel] = 0;
  }
  for (std::int64_t node = nodes.first_node[blockIdx.x]; node < nodes.first_node[blockIdx.x + 1]; ++node) {
    const std::int64_t point = nodes.nodes[node];
    const float u = terms.u(point);
    float sum = 0;
    for (int n = 0; n < nodes.neighbours; ++n) {
      const int neighbour = nodes.indices[point * nodes.neighbours + n];
      const float c = offset + slope * (u + terms.v(set + neighbour));
      sum += c;
      correction[neighbour * kSetThreads] += c;
    }
    pass.gradient[point * 2 * channels + terms.channel] =
        scale * pass.outgoing[node * channels + terms.channel] - sum;
  }
  for (int point = 0; point < nodes.points; ++point)
    pass.gradient[((set + point) * 2 + 1) * channels + terms.channel] =
        scale * pass.incoming[(set + point) * channels + terms.channel] - correction[point * kSetThreads];
}

}  // namespace

int node_blocks(const EdgeNodes& nodes) {
  const std::int64_t tiles = (std::int64_t{nodes.sets} * nodes.points + kTileNodes - 1) / kTileNodes;
  return static_cast<int>(tiles < kMostPassBlocks ? tiles : kMostPassBlocks);
}

#define BUNCHTRAIN_LAUNCH_BY_WIDTH(kernel, channels, ...)                                               \
  const auto chosen = fused_width(channels) == 64    ? kernel<64>                                       \
                      : fused_width(channels) == 128 ? kernel<128>                                      \
                                                     : kernel<256>;                                     \
  device::launch(chosen, {dim3(static_cast<unsigned>(node_blocks(nodes))), dim3(kPassThreads)}, stream, \
                 __VA_ARGS__)

void launch_first_moments(const EdgeNodes& nodes, const FirstRows& first, double* partials,
                          cudaStream_t stream) {
  BUNCHTRAIN_LAUNCH_BY_WIDTH(first_moments_kernel, first.channels, nodes, first, partials);
}

void launch_mean_moments(const EdgeNodes& nodes, const PassedEdges& passed, const float* gradient,
                         int channels, double* partials, cudaStream_t stream) {
  BUNCHTRAIN_LAUNCH_BY_WIDTH(mean_moments_kernel, channels, nodes, passed, gradient, channels, partials);
}

void launch_terms_moments(const EdgeNodes& nodes, const FirstRows& first, const float* outgoing,
                          const float* incoming, double* partials, cudaStream_t stream) {
  BUNCHTRAIN_LAUNCH_BY_WIDTH(terms_moments_kernel, first.channels, nodes, first, outgoing, incoming,
                             partials);
}

#undef BUNCHTRAIN_LAUNCH_BY_WIDTH

void launch_first_backward(const EdgeNodes& nodes, const FirstBackward& pass, cudaStream_t stream) {
  const auto channels = static_cast<std::size_t>(pass.first.channels);
  device::launch(first_backward_kernel,
                 {.grid = dim3(static_cast<unsigned>(nodes.sets), device::blocks_for(channels, kSetThreads)),
                  .block = dim3(kSetThreads),
                  .shared_bytes = static_cast<std::size_t>(nodes.points) * kSetThreads * sizeof(float)},
                 stream, nodes, pass);
}

}  // namespace bunchtrain::ops::detail
