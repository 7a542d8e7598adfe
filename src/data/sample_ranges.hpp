// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs of samples: cutting a dataset into them and finding the one that holds a sample.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/data/epoch_order.hpp"

namespace bunchtrain::data {

/// [0, samples) in runs of `range_size`, the last one shorter.
inline std::vector<SampleRange> make_ranges(std::int64_t samples, std::int64_t range_size) {
  std::vector<SampleRange> ranges;
  for (std::int64_t first = 0; first < samples; first += range_size)
    ranges.push_back({.first = first, .count = std::min(range_size, samples - first)});
  return ranges;
}

/// Index of the range that holds `sample`. @pre the ranges are ascending and one of them holds it
inline std::size_t find_range(std::span<const SampleRange> ranges, std::int64_t sample) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), sample,
                       [](std::int64_t value, const SampleRange& range) { return value < range.first; });
  return static_cast<std::size_t>(after - ranges.begin()) - 1;
}

}  // namespace bunchtrain::data
