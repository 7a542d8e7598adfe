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

/// The terms that are not part of another: "generator" or "generator_total", but not
/// "generator_energy" beside it.
std::vector<std::string> main_terms(const std::vector<std::string>& names);

/// "generator" for "generator_total", any other name as it is.
std::string_view without_total(std::string_view term) noexcept;

/// The loss terms of one network, or of one kind of pass if these have totals of their own:
/// "discriminator_real_total", "discriminator_fake_total".
struct TermGroup {
  std::string name = {};  ///< "discriminator_real"; what stands before the first "_" if there is no total
  std::vector<std::string> terms = {};   ///< full names
  std::vector<std::string> labels = {};  ///< without the network's name
};
std::vector<TermGroup> group_terms(const std::vector<std::string>& names);

}  // namespace bunchtrain::report
