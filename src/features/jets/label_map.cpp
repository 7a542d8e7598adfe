// SPDX-License-Identifier: Apache-2.0
#include "label_map.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

namespace bunchtrain::features::detail {

LabelMap::LabelMap(const std::vector<ClassSpec>& classes) {
  for (std::size_t index = 0; index < classes.size(); ++index) {
    for (const std::int64_t value : classes[index].values)
      class_of_value_[value] = static_cast<std::int64_t>(index);
  }
}

std::int64_t LabelMap::class_of(double value) const noexcept {
  if (!(std::abs(value) < 9e15) || value != std::nearbyint(value)) return -1;
  const auto found = class_of_value_.find(static_cast<std::int64_t>(value));
  return found == class_of_value_.end() ? -1 : found->second;
}

std::string describe_unknown_labels(const Card& card, const UnknownLabels& labels) {
  constexpr std::size_t kShown = 12;
  // Hits of an event stay together: none of them can be left out because of its label.
  const bool of_hits = card.kind == CardKind::hits;
  const std::string_view noun = of_hits ? "values" : "jets";
  std::vector<std::string> values, classes, others;
  const auto show = [&values, noun](const std::string& value, const UnknownLabels::Entry& entry) {
    if (entry.count == 0) return;
    values.push_back(fmt::format("{} ({} {}, the first: {})", value, entry.count, noun, entry.first));
  };
  show("NaN", labels.nan());
  for (const auto& [value, entry] : labels.values()) {
    if (values.size() == kShown) break;
    show(fmt::format("{}", value), entry);
    if (value == std::nearbyint(value) && std::isfinite(value)) others.push_back(fmt::format("{}", value));
  }
  if (values.size() == kShown) values.push_back(fmt::format("... ({} {} in all)", labels.total(), noun));
  for (const ClassSpec& spec : card.classes) {
    classes.push_back(fmt::format("[\"{}\", {}]", spec.name, fmt::join(spec.values, ", ")));
  }
  std::string text =
      fmt::format("{} has values outside the classes: {}. ", card.label, fmt::join(values, ", "));
  if (!of_hits) text += "To leave these jets out, paste under [label] of the card:\n  others = \"drop\"";
  if (!others.empty()) {
    classes.push_back(fmt::format("[\"other\", {}]", fmt::join(others, ", ")));
    text +=
        of_hits ? "To give them a class, paste under [label] of the card:" : "\nor, to give them a class:";
    text += fmt::format("\n  classes = [{}]", fmt::join(classes, ", "));
  } else if (of_hits) {
    text += "Repair the file, or leave such hits out by mask under [hits] of the card";
  }
  return text;
}

}  // namespace bunchtrain::features::detail

namespace bunchtrain::features {

void UnknownLabels::merge(const UnknownLabels& later) {
  const auto append = [](Entry& entry, const Entry& more) {
    if (entry.count == 0) entry.first = more.first;
    entry.count += more.count;
  };
  append(nan_, later.nan_);
  others_ += later.others_;
  for (const auto& [value, entry] : later.values_) {
    Entry* known = find(value);
    if (known != nullptr)
      append(*known, entry);
    else
      others_ += entry.count - 1;  // find() has counted one
  }
}

std::int64_t UnknownLabels::total() const noexcept {
  std::int64_t sum = nan_.count + others_;
  for (const auto& [value, entry] : values_) sum += entry.count;
  return sum;
}

/// The entry of a value; nullptr, and the value counted among the others, if too many are known already.
UnknownLabels::Entry* UnknownLabels::find(double value) {
  constexpr std::size_t kMostValues = 64;
  if (std::isnan(value)) return &nan_;
  const auto known = values_.find(value);
  if (known != values_.end()) return &known->second;
  if (values_.size() < kMostValues) return &values_[value];
  ++others_;
  return nullptr;
}

}  // namespace bunchtrain::features
