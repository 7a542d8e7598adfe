// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/detail/rank_ranges.hpp"

#include <cstddef>

namespace bunchtrain::mpi {

std::string rank_ranges(std::span<const int> ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t first = 0; first < ranks.size();) {
    std::size_t last = first;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (first > 0) text += ", ";
    text += std::to_string(ranks[first]);
    if (last > first) text += (last == first + 1 ? ", " : "-") + std::to_string(ranks[last]);
    first = last + 1;
  }
  return text;
}

}  // namespace bunchtrain::mpi
