// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Results as parts of a page: numbers, tables and plots.

#include <string>
#include <vector>

#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/metrics/efficiency.hpp"
#include "bunchtrain/metrics/regression.hpp"
#include "bunchtrain/report/section.hpp"

namespace bunchtrain::metrics {

/// What results are of, for their texts.
struct ResultOrigin {
  std::string data = "validation";  ///< "validation", "validation part of toy.h5"
  std::string samples = "jets";     ///< what a sample is called
};

/// "Results" (AUC, accuracy and rejections, whose numbers head the page), "Performance" (ROC, rejection,
/// scores), "Confusion matrix", "Calibration". What lacks samples of a class is left out.
std::vector<report::Section> make_sections(const ClassificationResult& result, const ResultOrigin& origin);

/// The efficiency of a cut on the score of `signal` against a quantity, "jet.pt". Nothing but a text if there
/// are no bins.
report::Section make_section(const EfficiencyCurve& curve, const std::string& signal,
                             const std::string& quantity);

/// What a regression's texts and axes say.
struct RegressionWords {
  std::string target = "target";  ///< "energy"
  std::string unit = {};          ///< "GeV"; empty: a pure number
  bool relative = false;          ///< `RegressionOptions::relative`
};

/// "Regression": bias, resolution and errors over all and in bins of the target, residuals, pulls.
std::vector<report::Section> make_sections(const RegressionResult& result, const RegressionWords& words,
                                           const ResultOrigin& origin);

}  // namespace bunchtrain::metrics
