// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an evaluation found as sections of a page: results, efficiencies against columns.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"
#include "trained_network.hpp"

namespace bunchtrain::jet_tagging {

/// What is no observer of the card becomes one, so that the batch has it.
void add_observers(features::Card& card, const std::vector<AgainstColumn>& columns);

/// @param rows of all ranks, [N, 2 + classes + observers + ...] float64: sample, label, scores, observers.
std::vector<report::Section> evaluation_sections(const metrics::ClassificationResult& result,
                                                 const at::Tensor& rows, const TrainedNetwork& trained,
                                                 const std::vector<AgainstColumn>& against,
                                                 double working_point, const std::string& data);

}  // namespace bunchtrain::jet_tagging
