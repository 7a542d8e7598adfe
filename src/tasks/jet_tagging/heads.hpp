// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The heads of a jet tagger beside its classes: estimates of the card's targets.

#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/metrics/result_sections.hpp"
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"
#include "bunchtrain/train/validation.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// The classes' head in losses, metrics and texts of a network with others.
inline constexpr const char* kClassHead = "flavour";

std::vector<std::string> target_names(const std::vector<HeadChoice>& heads);

/// Bias, resolution, errors and, with widths, pulls of an estimate, in the target's unit.
std::shared_ptr<train::Validation> make_target_validation(const EstimatedTarget& estimate,
                                                          const features::TargetSpec& target,
                                                          const metrics::ResultOrigin& origin = {});

/// One empty jet as the card makes them: its inputs and mask.
NamedTensors empty_jet(const features::Card& card, at::ScalarType type);

/// The card's targets of which the network has an estimate: an output of that name.
std::vector<EstimatedTarget> estimated_targets(torch::nn::Module& module, const features::Card& card,
                                               at::ScalarType type);

}  // namespace bunchtrain::jet_tagging
