// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "bunchtrain/device/detail/launch.cuh"
#include "keyed_random_launch.hpp"
#include "philox.cuh"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kThreads = 256;

/// [0, 1) with 53 bits.
__device__ double to_unit(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

// A thread owns a number. Box-Muller in double, as CounterRandom::normal. No shared memory. Bound:
// instructions in double; a step draws few numbers.
__global__ void __launch_bounds__(kThreads)
    keyed_random_kernel(std::int64_t count, std::int64_t columns, const std::int64_t* ids, KeyedStream stream,
                        Distribution distribution, float* out) {
  const std::int64_t place = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (place >= count) return;
  const std::int64_t row = place / columns;
  const std::uint64_t own_stream = mix(number_of(stream), static_cast<std::uint64_t>(ids[row]));
  const PhiloxWords drawn =
      philox(static_cast<std::uint64_t>(place - row * columns), own_stream, stream.seed);
  const double first = to_unit(word_pair(drawn.words[0], drawn.words[1]));
  if (distribution == Distribution::uniform) {
    out[place] = static_cast<float>(first);
    return;
  }
  const double second = to_unit(word_pair(drawn.words[2], drawn.words[3]));
  constexpr double kTwoPi = 6.283185307179586;
  out[place] = static_cast<float>(sqrt(-2.0 * log(1.0 - first)) * cos(kTwoPi * second));
}

}  // namespace

void launch_keyed_random(std::int64_t rows, std::int64_t columns, const std::int64_t* ids,
                         const KeyedStream& stream, Distribution distribution, float* out,
                         cudaStream_t stream_of_work) {
  const std::int64_t count = rows * columns;
  device::launch(keyed_random_kernel,
                 {dim3(device::blocks_for(static_cast<std::size_t>(count), kThreads)), dim3(kThreads)},
                 stream_of_work, count, columns, ids, stream, distribution, out);
}

}  // namespace bunchtrain::ops::detail
