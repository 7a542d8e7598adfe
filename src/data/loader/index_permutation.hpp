// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A keyed permutation of [0, n) that is computed, not stored.

#include <bit>
#include <cstdint>

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::data {

/// Feistel network over the smallest power of two that holds n, with cycle walking: under two network passes
/// per index on average. The halves may differ by a bit, so the domain is below 2n.
class IndexPermutation {
 public:
  /// @pre size > 0
  IndexPermutation(std::uint64_t size, std::uint64_t key) noexcept : size_(size), key_(key) {
    const int bits = std::bit_width(size - 1);
    low_bits_ = (bits + 1) / 2;
    low_mask_ = (std::uint64_t{1} << low_bits_) - 1;
    high_mask_ = (std::uint64_t{1} << (bits - low_bits_)) - 1;
    rounds_ = bits < 10 ? 16 : 6;  // narrow halves need more rounds until all places are equally likely
  }

  /// @pre index < size
  std::uint64_t operator()(std::uint64_t index) const noexcept {
    do index = pass(index);
    while (index >= size_);
    return index;
  }

 private:
  std::uint64_t pass(std::uint64_t index) const noexcept {
    std::uint64_t low = index & low_mask_;
    std::uint64_t high = index >> low_bits_;
    for (std::uint64_t round = 0; round < rounds_; round += 2) {
      high ^= mix64(key_ + round, low) & high_mask_;
      low ^= mix64(key_ + round + 1, high) & low_mask_;
    }
    return (high << low_bits_) | low;
  }

  std::uint64_t size_, key_;
  int low_bits_;
  std::uint64_t low_mask_, high_mask_;
  std::uint64_t rounds_;
};

}  // namespace bunchtrain::data
