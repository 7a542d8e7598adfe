// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A classifier's results as text.

#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/metrics/classification.hpp"

namespace bunchtrain::train {

/// What metrics need to know of a classifier. `signal` names the class that is selected; without it the
/// second of two classes is, or each of more.
metrics::ClassificationOptions classification_options(std::vector<std::string> classes,
                                                      std::string_view signal);

/// A table for the terminal: samples, accuracy, loss, AUC, rejections per signal. What cannot be computed for
/// want of samples of a class is a dash, and the class is named.
std::string format_results(const metrics::ClassificationResult& result);

}  // namespace bunchtrain::train
