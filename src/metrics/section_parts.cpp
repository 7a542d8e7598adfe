// SPDX-License-Identifier: Apache-2.0
#include "section_parts.hpp"

#include <cmath>

namespace bunchtrain::metrics::detail {

void set_color(plot::Series& series, std::size_t index) {
  series.color = static_cast<int>(index % plot::kPaletteSize);
  series.dashed = index >= plot::kPaletteSize;
}

void add_point(plot::Series& series, double x, const Estimate& y) {
  if (std::isnan(y.value)) return;
  series.x.push_back(x);
  series.y.push_back(y.value);
  series.error.push_back(std::isnan(y.error) ? 0.0 : y.error);
}

}  // namespace bunchtrain::metrics::detail
