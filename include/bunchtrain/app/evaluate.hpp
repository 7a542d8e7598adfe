// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The best checkpoint of a run on other files: table, ROC, scores.h5.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::app {

/// run, data, output and the options of the device.
std::vector<config::OptionSpec> evaluate_options();

struct EvaluateResult {
  std::optional<metrics::ClassificationResult> metrics;  ///< nothing for unlabelled files
  std::filesystem::path scores;                          ///< scores.h5
  std::filesystem::path curves;  ///< curves (ROC, histograms) as JSON, beside the scores; only with metrics
};

/// Collective. Computes the same features as the run (its resolved card) and writes one compound dataset
/// `scores` (`scores_1`, ... for further files) in the row order of each input file: `row`, `selected`,
/// `label` (-1 unknown), `score_<class>` (softmax), observers.
/// @throws ConfigError, DataError, CheckpointError
EvaluateResult evaluate(train::Session& session);

}  // namespace bunchtrain::app
