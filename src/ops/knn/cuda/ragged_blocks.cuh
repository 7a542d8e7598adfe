// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the search of ragged sets sorts their points into blocks with boxes: scratch memory and kernels.

#include <cuda_runtime.h>

#include <utility>

#include "bunchtrain/device/detail/launch.cuh"
#include "ragged_knn_kernels.hpp"
#include "sorting/cuda/digit_sort.cuh"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kFullWarp = 0xFFFFFFFFu;
constexpr int kPointsPerBlock = kWarp;
constexpr int kLayOutThreads = 256;
constexpr int kPointThreads = 256;
constexpr int kCodeBits = 31;
constexpr std::uint32_t kLastCode = 0xFFFFFFFFu;  ///< of points with an infinite or NaN coordinate

/// Sets in blocks of 32 points, and what it takes to sort them. All in scratch memory.
struct RaggedBlocks {
  std::int64_t num_points, sets;
  std::int64_t most_blocks;  ///< for any row splits
  int dims, stored_dims;     ///< coordinates are stored with zeros up to a number that there is a kernel for

  std::int64_t* row_splits;    ///< [sets + 1], ascending from 0 to num_points
  std::int64_t* first_blocks;  ///< [sets + 1]
  std::int32_t* finite;        ///< [sets] points with finite coordinates: a set's first in `order`
  std::uint32_t *low, *high;   ///< [sets, dims] corners of the finite points, as bits that order
  std::int64_t* starts;        ///< of the sort
  std::uint32_t *codes, *other_codes;
  std::int32_t *order, *other_order;  ///< [num_points] points, sorted by (set, place in space)
  std::int32_t* set_of;               ///< [num_points]
  float* coordinates;                 ///< [blocks, stored_dims, 32], NaN where there is no finite point
  std::int32_t* indices;              ///< [blocks, 32], -1 there
  float *box_low, *box_high;          ///< [stored_dims, most_blocks]
  std::uint32_t* lowest;              ///< [most_blocks] smallest index
};

/// Gives arrays their places in scratch memory; without memory it only counts.
class Places {
 public:
  explicit Places(void* memory) : memory_(static_cast<unsigned char*>(memory)) {}

  template <class T>
  void take(std::int64_t count, T*& array) {
    if (memory_ != nullptr) array = reinterpret_cast<T*>(memory_ + bytes_);
    bytes_ += (count * static_cast<std::int64_t>(sizeof(T)) + 15) / 16 * 16;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  unsigned char* memory_;
  std::int64_t bytes_ = 0;
};

/// Returns the bytes.
inline std::int64_t lay_out(const RaggedKnnArguments& a, void* scratch, RaggedBlocks& blocks) {
  blocks.num_points = a.num_points;
  blocks.sets = a.sets;
  blocks.most_blocks = a.num_points / kPointsPerBlock + (a.sets < a.num_points ? a.sets : a.num_points);
  blocks.dims = a.dims;
  blocks.stored_dims = a.dims <= 2 ? 2 : a.dims <= 4 ? a.dims : (a.dims + 1) / 2 * 2;
  Places places(scratch);
  places.take(a.sets + 1, blocks.row_splits);
  places.take(a.sets + 1, blocks.first_blocks);
  places.take(a.sets, blocks.finite);
  places.take(a.sets * a.dims, blocks.low);
  places.take(a.sets * a.dims, blocks.high);
  places.take(sort_starts_bytes(a.num_points) / 8, blocks.starts);
  places.take(a.num_points, blocks.codes);
  places.take(a.num_points, blocks.other_codes);
  places.take(a.num_points, blocks.order);
  places.take(a.num_points, blocks.other_order);
  places.take(a.num_points, blocks.set_of);
  places.take(blocks.most_blocks * blocks.stored_dims * kPointsPerBlock, blocks.coordinates);
  places.take(blocks.most_blocks * kPointsPerBlock, blocks.indices);
  places.take(blocks.most_blocks * blocks.stored_dims, blocks.box_low);
  places.take(blocks.most_blocks * blocks.stored_dims, blocks.box_high);
  places.take(blocks.most_blocks, blocks.lowest);
  return places.bytes();
}

/// The last of ascending starts that is not above `value`; the first is not.
__device__ inline std::int64_t last_not_above(const std::int64_t* starts, std::int64_t count,
                                              std::int64_t value) {
  std::int64_t begin = 0, end = count;
  while (end - begin > 1) {
    const std::int64_t middle = begin + (end - begin) / 2;
    (starts[middle] <= value ? begin : end) = middle;
  }
  return begin;
}

__device__ inline bool is_finite(float x) { return (__float_as_uint(x) & 0x7F800000u) != 0x7F800000u; }
__device__ inline bool is_nan(float x) { return (__float_as_uint(x) & 0x7FFFFFFFu) > 0x7F800000u; }

/// Bits that order as the numbers do, and back.
__device__ inline std::uint32_t ordered_bits(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
__device__ inline float from_ordered_bits(std::uint32_t bits) {
  return __uint_as_float(bits >> 31 != 0 ? bits & 0x7FFFFFFFu : ~bits);
}

template <class T>
__device__ inline T warp_min(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = min(value, __shfl_xor_sync(kFullWarp, value, step));
  return value;
}
template <class T>
__device__ inline T warp_max(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = max(value, __shfl_xor_sync(kFullWarp, value, step));
  return value;
}

// Row splits in order, and the first block of each set.
//   tiling     one block; a thread owns a run of sets, and thread 0 carries from run to run
//   shared     2 KB
//   bound      latency: 16 bytes per set
__global__ void sets_kernel(RaggedBlocks blocks, const std::int64_t* row_splits) {
  __shared__ std::int64_t carried[kLayOutThreads + 1];
  const std::int64_t run = (blocks.sets + kLayOutThreads) / kLayOutThreads;
  const std::int64_t begin = min(blocks.sets + 1, threadIdx.x * run), end = min(blocks.sets + 1, begin + run);
  const auto carry = [&](std::int64_t own, auto combine) {
    __syncthreads();
    carried[threadIdx.x + 1] = own;
    __syncthreads();
    if (threadIdx.x == 0) {
      carried[0] = 0;
      for (int t = 0; t < kLayOutThreads; ++t) carried[t + 1] = combine(carried[t], carried[t + 1]);
    }
    __syncthreads();
    return carried[threadIdx.x];
  };
  const auto split = [&](std::int64_t s) {
    const std::int64_t value = s == 0 ? 0 : s == blocks.sets ? blocks.num_points : row_splits[s];
    return min(blocks.num_points, max(std::int64_t{0}, value));
  };
  std::int64_t largest = 0;
  for (std::int64_t s = begin; s < end; ++s) largest = max(largest, split(s));
  largest = carry(largest, [](std::int64_t a, std::int64_t b) { return max(a, b); });
  for (std::int64_t s = begin; s < end; ++s) blocks.row_splits[s] = largest = max(largest, split(s));
  __syncthreads();
  const auto blocks_of = [&](std::int64_t s) {
    if (s == blocks.sets) return std::int64_t{0};
    return (blocks.row_splits[s + 1] - blocks.row_splits[s] + kPointsPerBlock - 1) / kPointsPerBlock;
  };
  std::int64_t count = 0;
  for (std::int64_t s = begin; s < end; ++s) count += blocks_of(s);
  count = carry(count, [](std::int64_t a, std::int64_t b) { return a + b; });
  for (std::int64_t s = begin; s < end; ++s) {
    blocks.first_blocks[s] = count;
    count += blocks_of(s);
    if (s == blocks.sets) continue;
    blocks.finite[s] = 0;
    for (int d = 0; d < blocks.dims; ++d) {
      blocks.low[s * blocks.dims + d] = 0xFFFFFFFFu;
      blocks.high[s * blocks.dims + d] = 0;
    }
  }
}

// The set of each point, and the corners of each set.
//   tiling     a thread per point; a warp inside one set reduces first
//   bound      HBM: 4 (D + 1) bytes per point. Atomic minimum, maximum and count of integers: order is no matter
__global__ void measure_kernel(RaggedBlocks blocks, const float* points) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPointThreads + threadIdx.x;
  const bool inside = i < blocks.num_points;
  const std::int32_t set =
      inside ? static_cast<std::int32_t>(last_not_above(blocks.row_splits, blocks.sets, i)) : -1;
  const float* x = points + (inside ? i : 0) * blocks.dims;
  bool finite = inside;
  for (int d = 0; d < blocks.dims; ++d) finite = finite && is_finite(x[d]);
  if (inside) blocks.set_of[i] = set;
  const bool together = __all_sync(kFullWarp, set == __shfl_sync(kFullWarp, set, 0)) != 0;
  const bool writes = together ? threadIdx.x % kWarp == 0 && inside : finite;
  const auto count = together ? __popc(__ballot_sync(kFullWarp, finite)) : 1;
  if (writes) atomicAdd(blocks.finite + set, static_cast<std::int32_t>(count));
  for (int d = 0; d < blocks.dims; ++d) {
    std::uint32_t low = finite ? ordered_bits(x[d]) : 0xFFFFFFFFu, high = finite ? low : 0;
    if (together) {
      low = warp_min(low);
      high = warp_max(high);
    }
    if (!writes) continue;
    atomicMin(blocks.low + std::int64_t{set} * blocks.dims + d, low);
    atomicMax(blocks.high + std::int64_t{set} * blocks.dims + d, high);
  }
}

// Places along a Morton curve through each set's box ("A computer oriented geodetic data base", IBM 1966).
//   tiling     a thread per point
//   bound      HBM: 4 (D + 3) bytes per point
__global__ void codes_kernel(RaggedBlocks blocks, const float* points) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPointThreads + threadIdx.x;
  if (i >= blocks.num_points) return;
  const std::int64_t corner = std::int64_t{blocks.set_of[i]} * blocks.dims;
  const int bits = kCodeBits / blocks.dims;
  std::uint32_t code = 0;
  bool finite = true;
  for (int d = 0; d < blocks.dims; ++d) {
    const float x = points[i * blocks.dims + d];
    finite = finite && is_finite(x);
    const double low = from_ordered_bits(blocks.low[corner + d]);
    const double width = from_ordered_bits(blocks.high[corner + d]) - low;
    const double cells = static_cast<double>(1u << bits);
    const double cell = finite && width > 0 ? (x - low) / width * cells : 0.0;
    const auto last = (1u << bits) - 1;
    const auto place = cell < last ? static_cast<std::uint32_t>(cell) : last;
    for (int b = 0; b < bits; ++b) code |= (place >> b & 1u) << (b * blocks.dims + d);
  }
  blocks.codes[i] = finite ? code : kLastCode;
  blocks.order[i] = static_cast<std::int32_t>(i);
}

/// Sets as keys, for points in the order of their codes.
__global__ void set_keys_kernel(RaggedBlocks blocks) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPointThreads + threadIdx.x;
  if (i < blocks.num_points) blocks.codes[i] = static_cast<std::uint32_t>(blocks.set_of[blocks.order[i]]);
}

// Blocks and their boxes from sorted points.
//   tiling     a warp per block, a lane per point
//   bound      HBM: reads of 4 D bytes per point out of order, writes of as many in order
__global__ void blocks_kernel(RaggedBlocks blocks, const float* points) {
  const std::int64_t block = std::int64_t{blockIdx.x} * (kPointThreads / kWarp) + threadIdx.x / kWarp;
  if (block >= blocks.first_blocks[blocks.sets]) return;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t set = last_not_above(blocks.first_blocks, blocks.sets, block);
  const std::int64_t place =
      blocks.row_splits[set] + (block - blocks.first_blocks[set]) * kPointsPerBlock + lane;
  const bool inside = place < blocks.row_splits[set] + blocks.finite[set];
  const std::int32_t point = inside ? blocks.order[place] : -1;
  blocks.indices[block * kPointsPerBlock + lane] = point;
  const std::uint32_t lowest = warp_min(static_cast<std::uint32_t>(point));
  if (lane == 0) blocks.lowest[block] = lowest;
  for (int d = 0; d < blocks.stored_dims; ++d) {
    const float x = inside && d < blocks.dims ? points[std::int64_t{point} * blocks.dims + d] : 0.0F;
    blocks.coordinates[(block * blocks.stored_dims + d) * kPointsPerBlock + lane] =
        inside ? x : __uint_as_float(0x7FC00000u);
    const float infinity = __uint_as_float(0x7F800000u);
    const float low = warp_min(inside ? x : infinity), high = warp_max(inside ? x : -infinity);
    if (lane != 0) continue;
    blocks.box_low[d * blocks.most_blocks + block] = low;
    blocks.box_high[d * blocks.most_blocks + block] = high;
  }
}

inline device::LaunchConfig points_config(std::int64_t count) {
  return {dim3(device::blocks_for(static_cast<std::size_t>(count), kPointThreads)), dim3(kPointThreads)};
}

inline void sort_digits(RaggedBlocks& blocks, int passes, cudaStream_t stream) {
  for (int pass = 0; pass < passes; ++pass) {
    sort_by_digit(blocks.num_points, pass, blocks.starts, {blocks.codes, blocks.order},
                  {blocks.other_codes, blocks.other_order}, stream);
    std::swap(blocks.codes, blocks.other_codes);
    std::swap(blocks.order, blocks.other_order);
  }
}

/// Fills everything in `blocks`.
inline void sort_into_blocks(const RaggedKnnArguments& a, RaggedBlocks& blocks, cudaStream_t stream) {
  device::launch(sets_kernel, {dim3(1), dim3(kLayOutThreads)}, stream, blocks, a.row_splits);
  device::launch(measure_kernel, points_config(a.num_points), stream, blocks, a.points);
  device::launch(codes_kernel, points_config(a.num_points), stream, blocks, a.points);
  sort_digits(blocks, sort_passes(kLastCode), stream);
  if (a.sets > 1) {
    device::launch(set_keys_kernel, points_config(a.num_points), stream, blocks);
    sort_digits(blocks, sort_passes(a.sets - 1), stream);
  }
  device::launch(blocks_kernel, points_config(blocks.most_blocks * kWarp), stream, blocks, a.points);
}

}  // namespace
}  // namespace bunchtrain::ops::detail
