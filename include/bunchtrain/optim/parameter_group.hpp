// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Hyper-parameters for some of a network's parameters, chosen by name.

#include <optional>
#include <string>

namespace bunchtrain::optim {

/// Parameters whose name matches `pattern` (shell wildcards: "*.bias", "encoder.*"). The first group that
/// matches wins; parameters that none matches keep the optimizer's own values.
struct ParameterGroup {
  std::string pattern;
  double learning_rate_factor = 1;  ///< times the optimizer's rate; 0 keeps them as they are
  std::optional<double> weight_decay = std::nullopt;  ///< instead of the optimizer's
};

}  // namespace bunchtrain::optim
