// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include <utility>

#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/device/detail/storage.cuh"
#include "checked_index.cuh"
#include "edge_launch.hpp"
#include "sorting/cuda/digit_sort.cuh"

namespace bunchtrain::ops::detail {
namespace {

using device::is_packable, device::kPack, device::narrow, device::Pack, device::widened;

constexpr int kWarp = 32;
constexpr int kWarpsPerBlock = 8;
constexpr int kReverseThreads = 128;
constexpr int kIndexTile = 1024;

// Per-edge sums.
//   formula   out[b, i, n, :] = u[b, i, :] + v[b, indices[b, i, n], :], without u a copy
//   tiling    a warp per edge, lanes along the channels, 16 bytes per lane if C and the pointers allow
//   shared    none; rows of u and v come from L1 and L2 (a set is P * C elements)
//   bound     HBM writes: B P K C elements
template <class T, int N>
__global__ void spread_kernel(EdgeShape shape, std::int64_t num_edges, const T* u, const T* v,
                              const std::int32_t* indices, T* out, std::int32_t* fault) {
  const std::int64_t edge = std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarp;
  if (edge >= num_edges) return;
  const std::int64_t point = edge / shape.neighbours;  // over all sets
  const std::int64_t first_of_set = point / shape.points * shape.points;
  using P = Pack<T, N>;
  const auto* from = reinterpret_cast<const P*>(
      v + (first_of_set + checked_index(indices[edge], shape.points, fault)) * shape.channels);
  const auto* own = reinterpret_cast<const P*>(u ? u + point * shape.channels : nullptr);
  auto* to = reinterpret_cast<P*>(out + edge * shape.channels);
  for (std::int64_t c = threadIdx.x % kWarp; c < shape.channels / N; c += kWarp) {
    P pack = from[c];
    if (own) {
      const P mine = own[c];
#pragma unroll
      for (int i = 0; i < N; ++i) narrow(widened(mine.values[i]) + widened(pack.values[i]), pack.values[i]);
    }
    to[c] = pack;
  }
}

// Which edges lead to each point of a small set: a stable counting sort.
//
//   tiling     a block per set; a thread owns a run of points and scans all edges twice, to count and to list
//
//   shared     kIndexTile * 4 + (threads + 1) * 4 bytes: 4.6 KB
//
//   bound      P * P K comparisons per set, all lanes reading the same shared word; 0.03 ms for 1024 sets of
//              128 x 16 (estimate)
__global__ void reverse_index_kernel(EdgeShape shape, const std::int32_t* indices, std::int32_t* offsets,
                                     std::int32_t* edges, std::int32_t* fault) {
  __shared__ std::int32_t tile[kIndexTile];
  __shared__ std::int32_t starts[kReverseThreads + 1];
  const auto num_points = static_cast<int>(shape.points);
  const auto num_edges = static_cast<int>(shape.points * shape.neighbours);
  indices += std::int64_t{blockIdx.x} * num_edges;
  edges += std::int64_t{blockIdx.x} * num_edges;
  offsets += std::int64_t{blockIdx.x} * (num_points + 1);

  // The edges that lead to [begin, end), in one sweep; `visit(edge, point)` sees them ascending.
  const auto sweep = [&](int begin, int end, auto visit) {
    for (int first = 0; first < num_edges; first += kIndexTile) {
      __syncthreads();
      for (int e = threadIdx.x; e < kIndexTile && first + e < num_edges; e += blockDim.x)
        tile[e] = checked_index(indices[first + e], shape.points, fault);
      __syncthreads();
      const int count = min(kIndexTile, num_edges - first);
      for (int e = 0; e < count; ++e)
        if (tile[e] >= begin && tile[e] < end) visit(first + e, tile[e]);
    }
  };

  const int run = (num_points + blockDim.x - 1) / blockDim.x;
  const int begin = min(num_points, static_cast<int>(threadIdx.x) * run), end = min(num_points, begin + run);
  for (int point = begin; point < end; ++point) offsets[point] = 0;
  int total = 0;
  sweep(begin, end, [&](int, int point) {
    ++offsets[point];
    ++total;
  });
  starts[threadIdx.x + 1] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    starts[0] = 0;
    for (unsigned t = 0; t < blockDim.x; ++t) starts[t + 1] += starts[t];
    offsets[num_points] = num_edges;
  }
  __syncthreads();
  int next = starts[threadIdx.x];
  for (int point = begin; point < end; ++point) {
    const int count = offsets[point];
    offsets[point] = next;
    next += count;
  }
  // Listing moves each offset on to the next point's; afterwards they are moved back.
  sweep(begin, end, [&](int edge, int point) { edges[offsets[point]++] = edge; });
  for (int point = end - 1; point > begin; --point) offsets[point] = offsets[point - 1];
  if (begin < end) offsets[begin] = starts[threadIdx.x];
}

// Which edges lead to each point of large sets: all edges sorted by the point that they lead to (digit_sort.cuh),
// between point_numbers_kernel and offsets_kernel.
//   bound      HBM: 20 bytes per edge and pass; 1e5 points x 40: 5 passes, 0.4 GB, 0.15 ms (estimate)

/// Points are numbered over all sets, edges within their set.
__global__ void point_numbers_kernel(EdgeShape shape, std::int64_t num_edges, const std::int32_t* indices,
                                     std::uint32_t* keys, std::int32_t* values, std::int32_t* fault) {
  const std::int64_t edge = std::int64_t{blockIdx.x} * kSortThreads + threadIdx.x;
  if (edge >= num_edges) return;
  const std::int64_t set_edges = shape.points * shape.neighbours, set = edge / set_edges;
  keys[edge] =
      static_cast<std::uint32_t>(set * shape.points + checked_index(indices[edge], shape.points, fault));
  values[edge] = static_cast<std::int32_t>(edge - set * set_edges);
}

/// Where each point's edges begin, from the sorted point numbers: a thread per gap between two edges.
__global__ void offsets_kernel(EdgeShape shape, std::int64_t num_edges, std::int64_t num_points,
                               const std::uint32_t* keys, std::int32_t* offsets) {
  const std::int64_t edge = std::int64_t{blockIdx.x} * kSortThreads + threadIdx.x;
  if (edge > num_edges) return;
  const std::int64_t set_edges = shape.points * shape.neighbours;
  const std::int64_t before = edge == 0 ? -1 : std::int64_t{keys[edge - 1]};
  const std::int64_t next = edge == num_edges ? num_points : std::int64_t{keys[edge]};
  for (std::int64_t point = before + 1; point <= next; ++point) {
    const std::int64_t set = point / shape.points;  // every set has one offset more than points
    if (point < num_points) offsets[point + set] = static_cast<std::int32_t>(edge - set * set_edges);
    if (point > 0 && point % shape.points == 0)
      offsets[point + set - 1] = static_cast<std::int32_t>(set_edges);
  }
}

/// Adds rows of channels into registers and stores their sum: lane c of a warp owns
/// channels [c * N, c * N + N).
template <class T, int N, class RowOf>
__device__ void sum_rows(const EdgeShape& shape, int count, RowOf row_of, T* out) {
  using P = Pack<T, N>;
  for (std::int64_t c = threadIdx.x % kWarp; c < shape.channels / N; c += kWarp) {
    decltype(widened(T{})) sums[N] = {};
    for (int n = 0; n < count; ++n) {
      const P pack = reinterpret_cast<const P*>(row_of(n))[c];
#pragma unroll
      for (int i = 0; i < N; ++i) sums[i] += widened(pack.values[i]);
    }
    P result;
#pragma unroll
    for (int i = 0; i < N; ++i) narrow(sums[i], result.values[i]);
    reinterpret_cast<P*>(out)[c] = result;
  }
}

// The adjoint of spread_kernel.
//
//   formula    u[b, i] = sum_n edges[b, i, n], v[b, j] = sum of the edges that lead to j, ascending; sums in
//              float or double
//
//   tiling     a warp per point, lanes along the channels; a point's sums stay in registers
//
//   shared     none
//
//   bound      HBM reads: B P K C elements once (twice with u, the second time mostly from L2)
template <class T, int N>
__global__ void collect_kernel(EdgeShape shape, std::int64_t num_points, const T* edge_values,
                               const std::int32_t* offsets, const std::int32_t* edges, T* u, T* v) {
  const std::int64_t point =
      std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarp;  // over all sets
  if (point >= num_points) return;
  const std::int64_t set = point / shape.points, set_edges = shape.points * shape.neighbours;
  const T* values = edge_values + set * set_edges * shape.channels;
  const std::int32_t* offset = offsets + point + set;  // every set has one offset more than points
  const std::int32_t* list = edges + set * set_edges + offset[0];
  sum_rows<T, N>(
      shape, offset[1] - offset[0], [&](int n) { return values + list[n] * shape.channels; },
      v + point * shape.channels);
  if (u == nullptr) return;
  const T* outgoing = edge_values + point * shape.neighbours * shape.channels;
  sum_rows<T, N>(
      shape, static_cast<int>(shape.neighbours), [&](int n) { return outgoing + n * shape.channels; },
      u + point * shape.channels);
}

template <class T>
bool rows_allow_packs(const EdgeShape& shape, std::initializer_list<const T*> pointers) {
  bool aligned = shape.channels % kPack<T> == 0;
  for (const T* pointer : pointers) aligned = aligned && is_packable(pointer);
  return aligned;
}

device::LaunchConfig warps(std::int64_t count) {
  return {dim3(device::blocks_for(static_cast<std::size_t>(count), kWarpsPerBlock)),
          dim3(kWarp * kWarpsPerBlock)};
}

}  // namespace

template <class T>
void launch_spread(const EdgeShape& shape, std::int64_t sets, const T* u, const T* v,
                   const std::int32_t* indices, T* out, std::int32_t* fault, cudaStream_t stream) {
  const std::int64_t num_edges = sets * shape.points * shape.neighbours;
  const auto kernel = rows_allow_packs(shape, {u, v, static_cast<const T*>(out)}) ? spread_kernel<T, kPack<T>>
                                                                                  : spread_kernel<T, 1>;
  device::launch(kernel, warps(num_edges), stream, shape, num_edges, u, v, indices, out, fault);
}

namespace {

device::LaunchConfig threads(std::int64_t count) {
  return {dim3(device::blocks_for(static_cast<std::size_t>(count), kSortThreads)), dim3(kSortThreads)};
}

void sort_edges(const ReverseIndexPlan& plan, const EdgeShape& shape, std::int64_t sets,
                const std::int32_t* indices, std::int32_t* offsets, std::int32_t* edges, void* scratch,
                std::int32_t* fault, cudaStream_t stream) {
  auto* bytes = static_cast<unsigned char*>(scratch);
  auto* starts = reinterpret_cast<std::int64_t*>(bytes);
  bytes += plan.starts_bytes;
  auto* keys = reinterpret_cast<std::uint32_t*>(bytes);
  auto* other_keys = reinterpret_cast<std::uint32_t*>(bytes + plan.keys_bytes);
  // The last pass writes to `edges`.
  auto* values = edges;
  auto* other_values = reinterpret_cast<std::int32_t*>(bytes + 2 * plan.keys_bytes);
  if (plan.passes % 2 == 1) std::swap(values, other_values);

  device::launch(point_numbers_kernel, threads(plan.num_edges), stream, shape, plan.num_edges, indices, keys,
                 values, fault);
  for (int pass = 0; pass < plan.passes; ++pass) {
    sort_by_digit(plan.num_edges, pass, starts, {keys, values}, {other_keys, other_values}, stream);
    std::swap(keys, other_keys);
    std::swap(values, other_values);
  }
  device::launch(offsets_kernel, threads(plan.num_edges + 1), stream, shape, plan.num_edges,
                 sets * shape.points, keys, offsets);
}

}  // namespace

void launch_reverse_index(const ReverseIndexPlan& plan, const EdgeShape& shape, std::int64_t sets,
                          const std::int32_t* indices, std::int32_t* offsets, std::int32_t* edges,
                          void* scratch, std::int32_t* fault, cudaStream_t stream) {
  if (plan.sorts()) return sort_edges(plan, shape, sets, indices, offsets, edges, scratch, fault, stream);
  device::launch(reverse_index_kernel, {dim3(static_cast<unsigned>(sets)), dim3(kReverseThreads)}, stream,
                 shape, indices, offsets, edges, fault);
}

template <class T>
void launch_collect(const EdgeShape& shape, std::int64_t sets, const T* edge_values,
                    const std::int32_t* offsets, const std::int32_t* edges, T* u, T* v, cudaStream_t stream) {
  const std::int64_t num_points = sets * shape.points;
  const bool packs =
      rows_allow_packs(shape, {edge_values, static_cast<const T*>(u), static_cast<const T*>(v)});
  const auto kernel = packs ? collect_kernel<T, kPack<T>> : collect_kernel<T, 1>;
  device::launch(kernel, warps(num_points), stream, shape, num_points, edge_values, offsets, edges, u, v);
}

#define BUNCHTRAIN_INSTANTIATE(T)                                                                          \
  template void launch_spread(const EdgeShape&, std::int64_t, const T*, const T*, const std::int32_t*, T*, \
                              std::int32_t*, cudaStream_t);                                                \
  template void launch_collect(const EdgeShape&, std::int64_t, const T*, const std::int32_t*,              \
                               const std::int32_t*, T*, T*, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(double)
BUNCHTRAIN_INSTANTIATE(Bf16)
BUNCHTRAIN_INSTANTIATE(Fp16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
