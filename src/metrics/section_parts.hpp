// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the sections of several results share.

#include "bunchtrain/metrics/estimate.hpp"
#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::metrics::detail {

/// The same colour comes back dashed after a round through the palette.
void set_color(plot::Series& series, std::size_t index);
/// A point with its error bar; none for NaN.
void add_point(plot::Series& series, double x, const Estimate& y);

}  // namespace bunchtrain::metrics::detail
