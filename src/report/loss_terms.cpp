// SPDX-License-Identifier: Apache-2.0
#include "loss_terms.hpp"

#include <algorithm>
#include <limits>

namespace bunchtrain::report {
namespace {

bool is_part_of(std::string_view term, std::string_view whole) {
  const std::string_view stem = without_total(whole);
  return term != whole && term.size() > stem.size() && term.starts_with(stem) && term[stem.size()] == '_';
}

// The network that a term belongs to: the longest X of all "X_total" that it begins with, else what stands
// before its first "_".
std::string network_of(const std::string& term, const std::vector<std::string>& names) {
  std::string_view network;
  for (const std::string& name : names) {
    const std::string_view stem = without_total(name);
    if (stem != name && stem.size() > network.size() && (term == name || is_part_of(term, name)))
      network = stem;
  }
  return network.empty() ? term.substr(0, term.find('_')) : std::string(network);
}

}  // namespace

std::string_view without_total(std::string_view term) noexcept {
  constexpr std::string_view kTotal = "_total";
  return term.ends_with(kTotal) ? term.substr(0, term.size() - kTotal.size()) : term;
}

double value_of(const std::vector<NamedValue>& values, std::string_view name) noexcept {
  const auto found =
      std::find_if(values.begin(), values.end(), [&](const NamedValue& value) { return value.name == name; });
  return found == values.end() ? std::numeric_limits<double>::quiet_NaN() : found->value;
}

std::vector<std::string> names_of(const std::vector<NamedValue>& values) {
  std::vector<std::string> names;
  for (const NamedValue& value : values) names.push_back(value.name);
  return names;
}

std::vector<std::string> names_of(const std::vector<EpochRow>& epochs,
                                  std::vector<NamedValue> EpochRow::*values) {
  std::vector<std::string> names;
  for (const EpochRow& row : epochs) {
    for (const std::string& name : names_of(row.*values)) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::vector<std::string> main_terms(const std::vector<std::string>& names) {
  std::vector<std::string> result;
  std::copy_if(names.begin(), names.end(), std::back_inserter(result), [&](const std::string& term) {
    return std::none_of(names.begin(), names.end(),
                        [&](const std::string& whole) { return is_part_of(term, whole); });
  });
  return result;
}

std::vector<TermGroup> group_terms(const std::vector<std::string>& names) {
  std::vector<TermGroup> groups;
  for (const std::string& term : names) {
    const std::string network = network_of(term, names);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const TermGroup& known) { return known.name == network; });
    if (group == groups.end()) group = groups.insert(group, {.name = network});
    std::string label = term == network ? term : term.substr(network.size() + 1);
    std::replace(label.begin(), label.end(), '_', ' ');
    group->terms.push_back(term);
    group->labels.push_back(std::move(label));
  }
  return groups;
}

}  // namespace bunchtrain::report
