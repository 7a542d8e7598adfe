// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which positions of a step belong to a rank.

#include <algorithm>
#include <cstdint>
#include <utility>

#include "bunchtrain/data/epoch_order.hpp"

namespace bunchtrain::data {

/// Shuffled: rank r takes the positions p with p mod W = r, which are whole streams of the order if W
/// divides V. Stored order: a contiguous part of each batch, so that neighbouring samples, which
/// share a chunk, stay together.
struct RankShare {
  std::int64_t samples;  ///< of the epoch
  std::int64_t global_batch;
  std::int64_t rank;
  std::int64_t world;
  bool strided;

  struct Positions {
    std::int64_t first, stride, count;
  };

  std::int64_t steps() const noexcept { return (samples + global_batch - 1) / global_batch; }
  std::int64_t begin(std::int64_t step) const noexcept { return std::min(step * global_batch, samples); }
  std::int64_t global_samples(std::int64_t step) const noexcept { return begin(step + 1) - begin(step); }

  Positions positions(std::int64_t step) const noexcept {
    const std::int64_t first = begin(step);
    const std::int64_t count = global_samples(step);
    if (strided) {
      const std::int64_t offset = (rank - first % world + world) % world;
      return {.first = first + offset,
              .stride = world,
              .count = offset < count ? (count - offset - 1) / world + 1 : 0};
    }
    const std::int64_t mine = count * rank / world;
    return {.first = first + mine, .stride = 1, .count = count * (rank + 1) / world - mine};
  }

  /// Whether a chunk is this rank's to read ahead: exact while all streams last; what remains is read when a
  /// batch needs it.
  bool reads_ahead(const EpochOrder::Residence& chunk, std::int64_t streams) const noexcept {
    if (strided) {
      std::int64_t common = world;
      for (std::int64_t other = streams; other != 0;) other = std::exchange(common, other) % other;
      return (chunk.stream - rank) % common == 0;
    }
    for (std::int64_t step = chunk.first / global_batch; step <= chunk.last / global_batch; ++step) {
      const Positions mine = positions(step);
      if (mine.first <= chunk.last && chunk.first < mine.first + mine.count) return true;
    }
    return false;
  }
};

}  // namespace bunchtrain::data
