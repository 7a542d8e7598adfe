// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {

std::vector<report::NamedValue> values_of(const ValidationResult& result) {
  std::vector<report::NamedValue> values;
  if (result.loss) values.push_back({"valid_loss", *result.loss});
  values.insert(values.end(), result.metrics.begin(), result.metrics.end());
  return values;
}

}  // namespace bunchtrain::train
