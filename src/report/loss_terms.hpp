// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Named values of epochs, and which loss term belongs to which network.

#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/report/epoch_row.hpp"

namespace bunchtrain::report {

/// NaN if there is none of this name.
double value_of(const std::vector<NamedValue>& values, std::string_view name) noexcept;

std::vector<std::string> names_of(const std::vector<NamedValue>& values);
/// Of all epochs, each name once, in the order of appearance.
std::vector<std::string> names_of(const std::vector<EpochRow>& epochs,
                                  std::vector<NamedValue> EpochRow::*values);

/// The terms that are not part of another: "generator" but not "generator_energy" beside it.
std::vector<std::string> main_terms(const std::vector<std::string>& names);

/// The loss terms of one network.
struct TermGroup {
  std::string name = {};                 ///< what stands before the first "_"
  std::vector<std::string> terms = {};   ///< full names
  std::vector<std::string> labels = {};  ///< without the network's name
};
std::vector<TermGroup> group_terms(const std::vector<std::string>& names);

}  // namespace bunchtrain::report
