// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Keys of neighbours in registers, and the networks that sort them. Each .cu that includes it has its own.

#include <cuda_runtime.h>

#include <utility>

#include "../knn_key.hpp"
#include "knn/cpu/sorting_network.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// Orders neighbours in float32: (distance, index) in 64 bits, as on the CPU (knn_key.hpp).
struct FloatKey {
  static constexpr bool kExact = true;

  std::uint64_t value;

  static __device__ FloatKey make(std::uint32_t rank, int index) {
    return {std::uint64_t{rank} << 32 | static_cast<std::uint32_t>(index)};
  }
  static __device__ FloatKey number(float squared_distance, int index) {
    const std::uint32_t bits = __float_as_uint(squared_distance) & 0x7FFFFFFFu;
    return make((bits < kNanBits ? bits : kNanBits) + kRankBias, index);
  }
  static __device__ FloatKey padded(int index) { return make(kPaddedRank, index); }
  static __device__ FloatKey excluded() { return make(kExcludedRank, -1); }
  static __device__ FloatKey first() { return {0}; }

  __device__ bool before(const FloatKey& other) const { return value < other.value; }
  __device__ int index() const { return static_cast<int>(static_cast<std::uint32_t>(value)); }
  __device__ float squared_distance() const {
    const auto rank = static_cast<std::uint32_t>(value >> 32);
    return __uint_as_float(rank >= kPaddedRank ? 0x7F800000u : rank - kRankBias);
  }
};

/// Orders neighbours in sets of at most 128 points by a distance rounded down, and by index where that is equal:
/// half as many instructions to sort. Who meets two neighbours of one rounded distance looks at the exact ones.
struct ShortKey {
  static constexpr bool kExact = false;
  static constexpr int kIndexBits = 7, kMaxPoints = 1 << kIndexBits;
  static constexpr int kDropped = kIndexBits - 1;  ///< bits of a float, whose sign is no bit of the rank

  std::uint32_t value;

  static __device__ ShortKey make(std::uint32_t bits, int index) {
    return {bits >> kDropped << kIndexBits | static_cast<std::uint32_t>(index)};
  }
  static __device__ ShortKey number(float squared_distance, int index) {
    const std::uint32_t bits = __float_as_uint(squared_distance) & 0x7FFFFFFFu;
    return make(bits < kNanBits ? bits : kNanBits, index);
  }
  static __device__ ShortKey padded(int index) { return make(kPaddedRank, index); }
  static __device__ ShortKey excluded() { return {0xFFFFFFFFu}; }

  __device__ int index() const { return static_cast<int>(value & (kMaxPoints - 1)); }
  __device__ bool is_number() const { return value < make(kNanBits, 0).value; }
  __device__ bool is_padded() const { return value >= make(kPaddedRank, 0).value; }
  /// Which of both is nearer takes the exact distances; what is no number is in its order.
  __device__ bool ties_with(const ShortKey& other) const {
    return value >> kIndexBits == other.value >> kIndexBits && is_number();
  }
};

__device__ __forceinline__ void exchange(ShortKey& low, ShortKey& high) {
  const std::uint32_t smaller = min(low.value, high.value);
  high.value = max(low.value, high.value);
  low.value = smaller;
}

template <class Key>
__device__ __forceinline__ void exchange(Key& low, Key& high) {
  const bool swap = high.before(low);
  const Key smaller = swap ? high : low;
  high = swap ? low : high;
  low = smaller;
}

template <class Network, class Key, std::size_t... I>
__device__ __forceinline__ void run_network(Key* keys, std::index_sequence<I...>) {
  (exchange(keys[Network::kList.comparators[I].low], keys[Network::kList.comparators[I].high]), ...);
}

template <class Network, class Key>
__device__ __forceinline__ void run_network(Key* keys) {
  run_network<Network>(keys, std::make_index_sequence<Network::kList.kSize>());
}

}  // namespace
}  // namespace bunchtrain::ops::detail
