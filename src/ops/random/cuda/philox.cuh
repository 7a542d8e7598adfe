// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The counter-based random numbers of core/random.hpp on the device, to the bit.

#include <cuda_runtime.h>

#include <cstdint>

#include "random/keyed_stream.hpp"

namespace bunchtrain::ops::detail {

struct PhiloxWords {
  std::uint32_t words[4];
};

/// Philox4x32-10 (Salmon et al., SC'11) of a counter made of two 64-bit halves.
__device__ inline PhiloxWords philox(std::uint64_t low, std::uint64_t high, std::uint64_t key) {
  constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::uint32_t c0 = static_cast<std::uint32_t>(low), c1 = static_cast<std::uint32_t>(low >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(high), c3 = static_cast<std::uint32_t>(high >> 32);
  std::uint32_t key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round, key0 += kWeyl0, key1 += kWeyl1) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * c0,
                        product1 = std::uint64_t{kMultiplier1} * c2;
    c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ key0;
    c1 = static_cast<std::uint32_t>(product1);
    c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ key1;
    c3 = static_cast<std::uint32_t>(product0);
  }
  return {{c0, c1, c2, c3}};
}

__device__ inline std::uint64_t word_pair(std::uint32_t low, std::uint32_t high) {
  return low | std::uint64_t{high} << 32;
}

/// `CounterRandom(seed, stream).bits(position)`.
__device__ inline std::uint64_t random_bits(std::uint64_t seed, std::uint64_t stream,
                                            std::uint64_t position) {
  const PhiloxWords out = philox(position, stream, seed);
  return word_pair(out.words[0], out.words[1]);
}

/// Finaliser of SplitMix64.
__device__ inline std::uint64_t scramble(std::uint64_t word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EB;
  return word ^ (word >> 31);
}

/// `mix64(a, b)`.
__device__ inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return scramble(b + scramble(a + 0x9E3779B97F4A7C15));
}

/// The stream's number, of the step as it is now: one load that all threads share.
__device__ inline std::uint64_t number_of(const KeyedStream& stream) {
  const std::int64_t step = stream.step_in_memory == nullptr ? stream.step : *stream.step_in_memory;
  return mix(stream.site, static_cast<std::uint64_t>(step));
}

}  // namespace bunchtrain::ops::detail
