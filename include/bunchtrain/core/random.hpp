// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Counter-based random numbers: a pure function of (seed, stream, position), the same on every
/// rank, thread and device.

#include <array>
#include <cstdint>

namespace bunchtrain {

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): four 32-bit words for
/// a 128-bit counter under a 64-bit key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) noexcept;

/// Mixes two 64-bit words to one (used to derive streams from names, steps, sites).
/// Bijective in `b` for fixed `a`.
std::uint64_t mix64(std::uint64_t a, std::uint64_t b) noexcept;

/// Random numbers of one stream. Holds no state: the same position always gives the same number. Thread-safe.
///
/// Choose `stream` by what the numbers are for (dropout site, shower, epoch order), never by rank.
class CounterRandom {
 public:
  CounterRandom(std::uint64_t seed, std::uint64_t stream) noexcept : seed_(seed), stream_(stream) {}

  /// 64 uniform bits.
  std::uint64_t bits(std::uint64_t position) const noexcept;
  /// Uniform in [0, 1), 53 bits.
  double uniform(std::uint64_t position) const noexcept;
  /// Uniform integer in [0, bound), without modulo bias. @pre bound > 0
  std::uint64_t below(std::uint64_t bound, std::uint64_t position) const noexcept;
  /// Standard normal (Box-Muller).
  double normal(std::uint64_t position) const noexcept;

  /// A stream derived from this one: the same for the same `id`, independent of the others.
  CounterRandom child(std::uint64_t id) const noexcept { return {seed_, mix64(stream_, id)}; }

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
};

/// A running cursor over one stream, for code that draws a number of variates not known
/// beforehand. Not thread-safe.
class RandomSequence {
 public:
  explicit RandomSequence(CounterRandom source) noexcept : source_(source) {}
  double uniform() noexcept { return source_.uniform(position_++); }
  double normal() noexcept { return source_.normal(position_++); }
  std::uint64_t below(std::uint64_t bound) noexcept { return source_.below(bound, position_++); }

 private:
  CounterRandom source_;
  std::uint64_t position_ = 0;
};

}  // namespace bunchtrain
