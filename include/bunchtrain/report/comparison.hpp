// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Several runs on one page.

#include <string>
#include <vector>

#include "bunchtrain/report/html_report.hpp"
#include "bunchtrain/report/section.hpp"

namespace bunchtrain::report {

/// A run with the name that tells it from the others.
struct ComparedRun {
  std::string name = {};
  TrainingReport report = {};
};

/// Final numbers side by side, losses and metrics over each other, and the settings in which the runs differ.
/// @throws ConfigError for fewer than two runs or two of one name.
Page compare_runs(const std::vector<ComparedRun>& runs);

}  // namespace bunchtrain::report
