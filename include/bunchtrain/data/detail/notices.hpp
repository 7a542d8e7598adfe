// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a reader of a run should know of its data before the first step.

#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/data/dataset.hpp"

namespace bunchtrain::data {

/// One line for each odd thing about the data: rows that are not among the samples and why, samples without
/// particles, negative weights, inputs that are constant, a single class. Nothing for data without any.
/// @param samples what a sample is called: "jets".
std::vector<std::string> notices(const DatasetSummary& summary, std::string_view samples = "jets");

}  // namespace bunchtrain::data
