// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "bunchtrain/device/detail/launch.cuh"
#include "checked_index.cuh"
#include "node_lists.hpp"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kScanThreads = 256;

/// Padded points of a set, and those in front of one of them.
struct PaddedCounts {
  int all = 0, before = 0;

  __device__ PaddedCounts(const bool* mask, int points, int point) {
    for (int i = 0; i < points; ++i) {
      const int padded = mask[i] ? 0 : 1;
      all += padded;
      before += i < point ? padded : 0;
    }
  }
  /// Whether the set's padding is left out.
  __device__ bool is_inert(const PaddedPoints& batch) const {
    return batch.zeroed && (all > batch.neighbours || !batch.counted);
  }
};

// Neighbours of a set's nodes, and how many nodes it has, into first_node[set + 1]. A block owns a set, a thread a
// point. Shared memory: 512 bytes. Bound: latency; P reads of the mask per thread.
__global__ void __launch_bounds__(kMostFusedPoints)
    set_neighbours_kernel(PaddedPoints batch, NodeLists lists, std::int32_t* fault) {
  __shared__ std::int32_t order[kMostFusedPoints];  // padded points first, both kinds ascending
  const int point = static_cast<int>(threadIdx.x), set = static_cast<int>(blockIdx.x);
  const std::int64_t first = std::int64_t{set} * batch.points;
  const bool* mask = batch.mask + first;
  const PaddedCounts padded(mask, batch.points, point);
  const bool exists = point < batch.points, real = exists && mask[point];
  const int place = real ? padded.all + point - padded.before : padded.before;
  if (exists) order[place] = point;
  __syncthreads();
  if (point == 0)
    lists.first_node[set + 1] = padded.is_inert(batch) ? batch.points - padded.all : batch.points;
  if (!exists || (!real && padded.is_inert(batch))) return;
  const std::int64_t row = (first + point) * batch.neighbours;
  for (int n = 0; n < batch.neighbours; ++n)
    lists.indices[row + n] =
        real ? checked_index(batch.indices[row + n], batch.points, fault) : order[n + (n >= place ? 1 : 0)];
}

// Counts of nodes to where each set begins, and the inert edges. One block; a thread owns a run of sets. Shared
// memory: 1 KB. Bound: latency.
__global__ void __launch_bounds__(kScanThreads) first_nodes_kernel(PaddedPoints batch, NodeLists lists) {
  __shared__ std::int32_t sums[kScanThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const int run = (batch.sets + kScanThreads - 1) / kScanThreads;
  const int begin = min(batch.sets, thread * run), end = min(batch.sets, begin + run);
  std::int32_t own = 0;
  for (int set = begin; set < end; ++set) own += lists.first_node[set + 1];
  sums[thread] = own;
  __syncthreads();
  std::int32_t next = 0;
  for (int i = 0; i < thread; ++i) next += sums[i];
  for (int set = begin; set < end; ++set) {
    next += lists.first_node[set + 1];
    lists.first_node[set + 1] = next;
  }
  if (thread != kScanThreads - 1) return;  // the last one has seen them all
  lists.first_node[0] = 0;
  const std::int64_t left_out = std::int64_t{batch.sets} * batch.points - next;
  *lists.inert_edges = batch.counted ? static_cast<double>(left_out * batch.neighbours) : 0;
}

// The nodes themselves. As set_neighbours_kernel, no shared memory.
__global__ void __launch_bounds__(kMostFusedPoints) nodes_kernel(PaddedPoints batch, NodeLists lists) {
  const int point = static_cast<int>(threadIdx.x), set = static_cast<int>(blockIdx.x);
  if (point >= batch.points) return;
  const std::int64_t first = std::int64_t{set} * batch.points;
  const bool* mask = batch.mask + first;
  const PaddedCounts padded(mask, batch.points, point);
  const bool inert = padded.is_inert(batch);
  if (!mask[point] && inert) return;
  const int place = inert ? point - padded.before : point;
  lists.nodes[lists.first_node[set] + place] = static_cast<std::int32_t>(first + point);
}

}  // namespace

void launch_list_nodes(const PaddedPoints& batch, const NodeLists& lists, std::int32_t* fault,
                       cudaStream_t stream) {
  const device::LaunchConfig by_set = {dim3(static_cast<unsigned>(batch.sets)), dim3(kMostFusedPoints)};
  device::launch(set_neighbours_kernel, by_set, stream, batch, lists, fault);
  device::launch(first_nodes_kernel, {dim3(1), dim3(kScanThreads)}, stream, batch, lists);
  device::launch(nodes_kernel, by_set, stream, batch, lists);
}

}  // namespace bunchtrain::ops::detail
