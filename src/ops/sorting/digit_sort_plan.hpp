// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a sort of 32-bit keys with 32-bit values on a GPU needs: sizes only, 64 bits wide.

#include <bit>
#include <cstdint>

namespace bunchtrain::ops::detail {

inline constexpr int kDigitBits = 4;
inline constexpr int kDigits = 1 << kDigitBits;
inline constexpr int kSortThreads = 256;
inline constexpr int kItemsPerThread = 16;
inline constexpr std::int64_t kSortTile = std::int64_t{kSortThreads} * kItemsPerThread;

/// Blocks of the sort.
inline std::int64_t sort_tiles(std::int64_t items) { return (items + kSortTile - 1) / kSortTile; }

/// Digits of the keys 0 to `largest`; at least one.
inline int sort_passes(std::int64_t largest) {
  const int bits = std::bit_width(static_cast<std::uint64_t>(largest));
  return bits <= kDigitBits ? 1 : (bits + kDigitBits - 1) / kDigitBits;
}

/// Of the table of where each digit of each tile begins.
inline std::int64_t sort_starts_bytes(std::int64_t items) {
  return sort_tiles(items) * kDigits * static_cast<std::int64_t>(sizeof(std::int64_t));
}

/// Of a buffer of `count` keys or values, so that the next one is aligned.
inline std::int64_t sort_buffer_bytes(std::int64_t count) { return (count * 4 + 15) / 16 * 16; }

}  // namespace bunchtrain::ops::detail
