// SPDX-License-Identifier: Apache-2.0
#include "detail/label_map.hpp"

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

std::string describe_unknown_labels(const Card& card, const std::map<double, std::int64_t>& counts) {
  constexpr std::size_t kShown = 12;
  std::vector<std::string> values, classes, others;
  for (const auto& [value, count] : counts) {
    if (values.size() == kShown) {
      values.push_back("...");
      break;
    }
    values.push_back(fmt::format("{} ({} jets)", value, count));
    if (value == std::nearbyint(value)) others.push_back(fmt::format("{}", value));
  }
  for (const ClassSpec& spec : card.classes) {
    classes.push_back(fmt::format("[\"{}\", {}]", spec.name, fmt::join(spec.values, ", ")));
  }
  std::string text = fmt::format(
      "{} has values outside the classes: {}. To leave these jets out, paste under [label] of the card:\n  "
      "others = \"drop\"",
      card.label, fmt::join(values, ", "));
  if (!others.empty()) {
    classes.push_back(fmt::format("[\"other\", {}]", fmt::join(others, ", ")));
    text += fmt::format("\nor, to give them a class:\n  classes = [{}]", fmt::join(classes, ", "));
  }
  return text;
}

}  // namespace bunchtrain::features::detail
