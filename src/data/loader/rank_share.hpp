// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which positions of a step belong to a rank.

#include <cstdint>
#include <utility>

#include "epoch_batches.hpp"

namespace bunchtrain::data {

/// Shuffled: rank r takes the positions p with p mod W = r, which are whole streams of the order if W
/// divides V. Stored order: a contiguous part of each batch, so that neighbouring samples, which
/// share a chunk, stay together.
struct RankShare {
  std::int64_t rank;
  std::int64_t world;
  bool strided;

  struct Positions {
    std::int64_t first, stride, count;
  };

  Positions positions(EpochBatches& batches, std::int64_t step) const {
    const std::int64_t first = batches.begin(step);
    const std::int64_t count = batches.global_samples(step);
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
  bool reads_ahead(const EpochOrder::Residence& chunk, EpochBatches& batches) const {
    if (strided) {
      std::int64_t common = world;
      for (std::int64_t other = batches.order().streams(); other != 0;)
        other = std::exchange(common, other) % other;
      return (chunk.stream - rank) % common == 0;
    }
    for (std::int64_t step = batches.step_at(chunk.first); batches.begin(step) <= chunk.last; ++step) {
      const Positions mine = positions(batches, step);
      if (mine.first <= chunk.last && chunk.first < mine.first + mine.count) return true;
    }
    return false;
  }
};

}  // namespace bunchtrain::data
