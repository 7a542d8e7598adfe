// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tables and plots of measured scaling.

#include <string>
#include <vector>

#include "scaling_plan.hpp"

namespace scaling {

/// What stands around the numbers.
struct Circumstances {
  std::string machine;
  std::string command;
};

/// Writes scaling.md, scaling.json, and per mode MODE_efficiency.svg and MODE_step.svg into the plan's
/// folder. Returns the text of scaling.md.
std::string write_report(const Plan& plan, const std::vector<Point>& points,
                         const Circumstances& circumstances);

/// Samples per second and rank relative to the same mode's smallest number of ranks.
double efficiency(const Point& point, const std::vector<Point>& points);

}  // namespace scaling
