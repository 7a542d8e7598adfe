// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The plots and pictures of a shower comparison.

#include <string>
#include <vector>

#include "bunchtrain/metrics/shower_comparison.hpp"
#include "bunchtrain/plot/svg_plot.hpp"
#include "bunchtrain/report/section.hpp"

namespace bunchtrain::shower_comparison {

inline constexpr int kReferenceColor = 0, kCandidateColor = 1;

/// Per axis: linear, logarithmic, and candidate over reference. One colour per energy bin.
std::vector<plot::Plot> make_profile_plots(const metrics::ShowerComparison& comparison);
/// Mean against energy, and the distribution in each energy bin.
std::vector<plot::Plot> make_fraction_plots(const metrics::ShowerComparison& comparison);
std::vector<plot::Plot> make_cell_plots(const metrics::ShowerComparison& comparison);
std::vector<plot::Plot> make_hit_plots(const metrics::ShowerComparison& comparison);
std::vector<plot::Plot> make_theta_plots(const metrics::ShowerComparison& comparison);

/// Single showers and mean showers seen from two sides; nothing unless the cells are one grid.
std::vector<report::PictureRow> make_example_pictures(const metrics::ShowerComparison& comparison);
std::vector<report::PictureRow> make_mean_pictures(const metrics::ShowerComparison& comparison);
report::PictureRow make_correlation_pictures(const metrics::ShowerComparison& comparison);

}  // namespace bunchtrain::shower_comparison
