// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A stable sort of keys with values, one digit at a time, by many blocks. Each .cu that includes it has its own.

#include "bunchtrain/device/detail/launch.cuh"
#include "sorting/digit_sort_plan.hpp"

namespace bunchtrain::ops::detail {
namespace {

// Counting sort by kDigitBits bits of the keys; as many as the keys have digits make a radix sort. Without atomics:
// the same order in every run.
//
//   passes     digit_counts_kernel, place_digits_kernel (one block), sort_by_digit_kernel
//
//   tiling     a block per tile of kSortTile items; a thread owns kItemsPerThread items in a row
//
//   shared     kDigits * kSortThreads * 2 bytes: 8 KB
//
//   bound      HBM: 20 bytes per item

struct DigitPass {
  std::int64_t num_items, tiles;
  int shift;
  const std::uint32_t* keys;
  std::int64_t* starts;  ///< [kDigits, tiles]: counts, then the place of the first item of a digit in a tile

  __device__ int digit_of(std::int64_t item) const {
    return static_cast<int>(keys[item] >> shift & static_cast<std::uint32_t>(kDigits - 1));
  }
  /// Calls `visit(item)` for the items of this thread, ascending.
  template <class Visit>
  __device__ void for_own_items(Visit visit) const {
    const std::int64_t first =
        std::int64_t{blockIdx.x} * kSortTile + std::int64_t{threadIdx.x} * kItemsPerThread;
    for (int i = 0; i < kItemsPerThread && first + i < num_items; ++i) visit(first + i);
  }
};

/// How often each digit occurs among each thread's items.
using DigitCounts = std::uint16_t[kDigits][kSortThreads];

__device__ void count_digits(const DigitPass& pass, DigitCounts& counts) {
  for (int digit = 0; digit < kDigits; ++digit) counts[digit][threadIdx.x] = 0;
  pass.for_own_items([&](std::int64_t item) { ++counts[pass.digit_of(item)][threadIdx.x]; });
  __syncthreads();
}

__global__ void digit_counts_kernel(DigitPass pass) {
  __shared__ DigitCounts counts;
  count_digits(pass, counts);
  if (threadIdx.x >= kDigits) return;
  std::int64_t total = 0;
  for (int thread = 0; thread < kSortThreads; ++thread) total += counts[threadIdx.x][thread];
  pass.starts[threadIdx.x * pass.tiles + blockIdx.x] = total;
}

/// Counts become places: the sum of all counts before. One block; a thread owns a run.
__global__ void place_digits_kernel(std::int64_t count, std::int64_t* starts) {
  __shared__ std::int64_t sums[kSortThreads + 1];
  const std::int64_t run = (count + kSortThreads - 1) / kSortThreads;
  const std::int64_t begin = min(count, threadIdx.x * run), end = min(count, begin + run);
  std::int64_t total = 0;
  for (std::int64_t i = begin; i < end; ++i) total += starts[i];
  sums[threadIdx.x + 1] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    sums[0] = 0;
    for (int thread = 0; thread < kSortThreads; ++thread) sums[thread + 1] += sums[thread];
  }
  __syncthreads();
  std::int64_t place = sums[threadIdx.x];
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t here = starts[i];
    starts[i] = place;
    place += here;
  }
}

__global__ void sort_by_digit_kernel(DigitPass pass, const std::int32_t* values, std::uint32_t* to_keys,
                                     std::int32_t* to_values) {
  __shared__ DigitCounts places;  // within the digit's places of this tile
  count_digits(pass, places);
  if (threadIdx.x < kDigits) {
    std::uint16_t next = 0;
    for (int thread = 0; thread < kSortThreads; ++thread) {
      const std::uint16_t count = places[threadIdx.x][thread];
      places[threadIdx.x][thread] = next;
      next = static_cast<std::uint16_t>(next + count);
    }
  }
  __syncthreads();
  pass.for_own_items([&](std::int64_t item) {
    const int digit = pass.digit_of(item);
    const std::int64_t place = pass.starts[digit * pass.tiles + blockIdx.x] + places[digit][threadIdx.x]++;
    to_keys[place] = pass.keys[item];
    to_values[place] = values[item];
  });
}

struct KeysAndValues {
  std::uint32_t* keys;
  std::int32_t* values;
};

/// Sorts `from` into `to` by the digit that `pass` counts, the lowest first. @param starts of sort_starts_bytes
inline void sort_by_digit(std::int64_t num_items, int pass, std::int64_t* starts, const KeysAndValues& from,
                          const KeysAndValues& to, cudaStream_t stream) {
  const std::int64_t tiles = sort_tiles(num_items);
  const DigitPass digit{num_items, tiles, pass * kDigitBits, from.keys, starts};
  const device::LaunchConfig blocks{dim3(static_cast<unsigned>(tiles)), dim3(kSortThreads)};
  device::launch(digit_counts_kernel, blocks, stream, digit);
  device::launch(place_digits_kernel, {dim3(1), dim3(kSortThreads)}, stream, kDigits * tiles, starts);
  device::launch(sort_by_digit_kernel, blocks, stream, digit, from.values, to.keys, to.values);
}

}  // namespace
}  // namespace bunchtrain::ops::detail
