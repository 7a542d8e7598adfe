// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Label values of a file to class numbers.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"

namespace bunchtrain::features::detail {

/// Class number of each label value of a card.
class LabelMap {
 public:
  explicit LabelMap(const std::vector<ClassSpec>& classes);
  /// -1 for a value of no class (also NaN and fractions).
  std::int64_t class_of(double value) const noexcept;

 private:
  std::map<std::int64_t, std::int64_t> class_of_value_;
};

/// What to tell the user about labels that belong to no class: the values with their counts, where they
/// occur first, and the lines to paste.
std::string describe_unknown_labels(const Card& card, const UnknownLabels& labels);

}  // namespace bunchtrain::features::detail
