// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A plot as it stands on a page.

#include <string>

#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::report {

/// A plot with its heading and the line below it.
struct Figure {
  plot::Plot plot = {};
  std::string heading = {};
  std::string caption = {};
};

}  // namespace bunchtrain::report
