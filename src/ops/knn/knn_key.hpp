// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The 64-bit key by which float32 neighbours are ordered, the same on CPU and GPU.

#include <bit>
#include <cstdint>

namespace bunchtrain::ops::detail {

// A key is (rank of the squared distance << 32) | index, so that one comparison orders by (distance, index).
// The rank is the float's bit pattern, which orders as the number for numbers that are not negative, plus a
// bias. The bias keeps every key, read as a double, normal and finite: the CPU sorts keys with the vector
// units' min and max of doubles, which must not meet denormals (they may be flushed to zero) or NaN.

inline constexpr std::uint32_t kRankBias = 0x00100000u;
inline constexpr std::uint32_t kNanBits = 0x7FC00000u;  ///< every NaN is taken to be this one, above infinity
inline constexpr std::uint32_t kPaddedRank = 0x7FE00000u;    ///< candidates that are padding: after all NaN
inline constexpr std::uint32_t kExcludedRank = 0x7FEFFFFFu;  ///< the point itself, and slots past the end
/// After all others.
inline constexpr std::uint64_t kLastKey = std::uint64_t{kExcludedRank} << 32 | 0xFFFFFFFFu;

/// The rank of a squared distance.
inline std::uint32_t rank_of(float squared_distance) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(squared_distance) & 0x7FFFFFFFu;
  return (bits < kNanBits ? bits : kNanBits) + kRankBias;
}

/// The squared distance that a rank stands for; infinity for padding.
inline float squared_distance_of(std::uint32_t rank) {
  return std::bit_cast<float>(rank >= kPaddedRank ? 0x7F800000u : rank - kRankBias);
}

}  // namespace bunchtrain::ops::detail
