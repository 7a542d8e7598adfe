// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/random.hpp"

#include <cmath>
#include <numbers>

namespace bunchtrain {

namespace {

constexpr int kRounds = 10;
constexpr std::uint32_t kMultiplier0 = 0xD2511F53;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
constexpr std::uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1

constexpr std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

/// The two 64-bit words of one position.
struct Words {
  std::uint64_t first;
  std::uint64_t second;
};

Words words_at(std::uint64_t seed, std::uint64_t stream, std::uint64_t position) noexcept {
  const auto out =
      philox4x32({low(position), high(position), low(stream), high(stream)}, {low(seed), high(seed)});
  return {out[0] | std::uint64_t{out[1]} << 32, out[2] | std::uint64_t{out[3]} << 32};
}

/// [0, 1) with 53 bits.
double to_unit(std::uint64_t bits) noexcept { return static_cast<double>(bits >> 11) * 0x1p-53; }

/// Finaliser of SplitMix64 (Steele et al., OOPSLA'14): a bijection of 64-bit words.
constexpr std::uint64_t scramble(std::uint64_t word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EB;
  return word ^ (word >> 31);
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) noexcept {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

std::uint64_t mix64(std::uint64_t a, std::uint64_t b) noexcept {
  return scramble(b + scramble(a + 0x9E3779B97F4A7C15));
}

std::uint64_t CounterRandom::bits(std::uint64_t position) const noexcept {
  return words_at(seed_, stream_, position).first;
}

double CounterRandom::uniform(std::uint64_t position) const noexcept { return to_unit(bits(position)); }

// Lemire, "Fast random integer generation in an interval" (1805.10941); a rejected draw (rare) is repeated
// in a child stream, so that positions stay independent of one another.
std::uint64_t CounterRandom::below(std::uint64_t bound, std::uint64_t position) const noexcept {
  const std::uint64_t threshold = -bound % bound;
  CounterRandom source = *this;
  for (std::uint64_t attempt = 1;; ++attempt) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = Wide{source.bits(position)} * bound;
    if (static_cast<std::uint64_t>(product) >= threshold) return static_cast<std::uint64_t>(product >> 64);
    source = child(attempt);
  }
}

double CounterRandom::normal(std::uint64_t position) const noexcept {
  const Words words = words_at(seed_, stream_, position);
  const double radius = std::sqrt(-2.0 * std::log(1.0 - to_unit(words.first)));  // 1 - u is in (0, 1]
  return radius * std::cos(2.0 * std::numbers::pi * to_unit(words.second));
}

}  // namespace bunchtrain
