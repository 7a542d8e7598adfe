// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/device/detail/storage.cuh"
#include "dropout/cpu/dropout_kernel.hpp"
#include "dropout_launch.hpp"
#include "random/cuda/philox.cuh"

namespace bunchtrain::ops::detail {
namespace {

using device::narrow, device::widened;

constexpr int kThreads = 256;
constexpr int kLanes = 16;             ///< counters of a block of kDropoutBlock elements
constexpr int kNumbersPerCounter = 8;  ///< of 16 bits
static_assert(kLanes * kNumbersPerCounter == kDropoutBlock);

__global__ void __launch_bounds__(kThreads)
    row_keys_kernel(std::int64_t rows, const std::int64_t* ids, KeyedStream stream, std::int64_t* keys) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= rows) return;
  keys[row] = static_cast<std::int64_t>(
      random_bits(stream.seed, number_of(stream), static_cast<std::uint64_t>(ids[row])));
}

// Dropout. Formula: element 32 w + 16 h + l of a block of 128 takes half h of word w
// of counter 16 * block + l.
//
//   tiling    16 threads own a block of 128 elements of a row; each draws one counter and owns every 16th
//             element, so that 16 neighbours move a whole sector together
//   shared    none
//   bound     HBM, an element read and one written; about 15 integer instructions per element
template <class S>
__global__ void __launch_bounds__(kThreads)
    drop_kernel(std::int64_t rows, std::int64_t elements, std::int64_t blocks_per_row, const S* x, S* y,
                const std::int64_t* keys, std::uint32_t threshold, Real<S> scale, std::int64_t first_block) {
  const std::int64_t group = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t row = group / blocks_per_row, block = group - row * blocks_per_row;
  if (row >= rows) return;
  const PhiloxWords drawn = philox(static_cast<std::uint64_t>((first_block + block) * kLanes + lane), 0,
                                   static_cast<std::uint64_t>(keys[row]));
  const std::int64_t first = block * kDropoutBlock + lane;
  x += row * elements;
  y += row * elements;
  S values[kNumbersPerCounter] = {};
#pragma unroll
  for (int number = 0; number < kNumbersPerCounter; ++number)
    if (first + number * kLanes < elements) values[number] = x[first + number * kLanes];
#pragma unroll
  for (int number = 0; number < kNumbersPerCounter; ++number) {
    const std::uint32_t bits = drawn.words[number / 2] >> (16 * (number % 2)) & 0xFFFFU;
    narrow(bits < threshold ? Real<S>(0) : widened(values[number]) * scale, values[number]);
    if (first + number * kLanes < elements) y[first + number * kLanes] = values[number];
  }
}

}  // namespace

void launch_row_keys(std::int64_t rows, const std::int64_t* ids, const KeyedStream& stream,
                     std::int64_t* keys, cudaStream_t stream_of_work) {
  device::launch(row_keys_kernel,
                 {dim3(device::blocks_for(static_cast<std::size_t>(rows), kThreads)), dim3(kThreads)},
                 stream_of_work, rows, ids, stream, keys);
}

template <class S>
void launch_drop(std::int64_t rows, std::int64_t elements, const S* x, S* y, const std::int64_t* keys,
                 std::uint32_t threshold, Real<S> scale, cudaStream_t stream, std::int64_t first_block) {
  const std::int64_t blocks_per_row = (elements + kDropoutBlock - 1) / kDropoutBlock;
  const auto threads = static_cast<std::size_t>(rows * blocks_per_row * kLanes);
  device::launch(drop_kernel<S>, {dim3(device::blocks_for(threads, kThreads)), dim3(kThreads)}, stream, rows,
                 elements, blocks_per_row, x, y, keys, threshold, scale, first_block);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                         \
  template void launch_drop(std::int64_t, std::int64_t, const S*, S*, const std::int64_t*, std::uint32_t, \
                            Real<S>, cudaStream_t, std::int64_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(double)
BUNCHTRAIN_INSTANTIATE(Bf16)
BUNCHTRAIN_INSTANTIATE(Fp16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
