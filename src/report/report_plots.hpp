// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The plots of a training report. A plot without data comes back with no series.

#include <string>
#include <vector>

#include "bunchtrain/plot/svg_plot.hpp"
#include "bunchtrain/report/html_report.hpp"
#include "figure.hpp"

namespace bunchtrain::report {

/// Training and validation loss; of a run with named loss terms only the latter.
Figure make_loss_figure(const TrainingReport& report);
/// One figure per network, with all its terms over steps and epochs.
std::vector<Figure> make_loss_term_figures(const TrainingReport& report);
/// One figure for each value that the program logged.
std::vector<Figure> make_logged_figures(const TrainingReport& report);
Figure make_learning_rate_figure(const TrainingReport& report);
Figure make_throughput_figure(const TrainingReport& report);
Figure make_step_split_figure(const TrainingReport& report);
/// How long steps wait for data, and what the loader does meanwhile.
Figure make_loader_figure(const TrainingReport& report);
/// One figure for accuracies and areas, one for rejections, one for each other metric.
std::vector<Figure> make_metric_figures(const TrainingReport& report);

/// "valid_rejection_50" becomes "rejection 50".
std::string metric_label(std::string_view name);
/// The same as a heading: "Rejection 50".
std::string metric_heading(std::string_view name);

}  // namespace bunchtrain::report
