// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an evaluation found as sections of a page: results, efficiencies against columns.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/train/session.hpp"
#include "trained_network.hpp"

namespace bunchtrain::jet_tagging {

/// A quantity that efficiencies are shown against.
struct AgainstColumn {
  std::string expression;  ///< of a jet: "jet.pt", "log(jet.pt)"
  std::int64_t bins;
};

/// `--against`: EXPRESSION[:BINS]. What is no observer of the card becomes one, so that the batch has it.
/// @throws ConfigError for a number of bins that is none.
std::vector<AgainstColumn> read_against(const train::Session& session, features::Card& card);

/// @param rows of all ranks, [N, 2 + classes + observers + ...] float64: sample, label, scores, observers.
std::vector<report::Section> evaluation_sections(const metrics::ClassificationResult& result,
                                                 const at::Tensor& rows, const TrainedNetwork& trained,
                                                 const std::vector<AgainstColumn>& against,
                                                 double working_point, const std::string& data);

}  // namespace bunchtrain::jet_tagging
