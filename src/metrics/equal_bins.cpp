// SPDX-License-Identifier: Apache-2.0
#include "equal_bins.hpp"

#include <algorithm>

namespace bunchtrain::metrics {

std::vector<double> equally_filled_edges(std::span<const double> ascending, std::int64_t bins) {
  if (ascending.empty()) return {};
  const std::size_t parts = std::min(static_cast<std::size_t>(bins), ascending.size());
  std::vector<double> edges = {ascending.front()};
  for (std::size_t part = 1; part <= parts; ++part) {
    const std::size_t place = part == parts ? ascending.size() - 1 : ascending.size() * part / parts;
    if (ascending[place] > edges.back()) edges.push_back(ascending[place]);
  }
  if (edges.size() < 2) edges.clear();
  return edges;
}

}  // namespace bunchtrain::metrics
