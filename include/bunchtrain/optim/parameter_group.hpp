// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Hyper-parameters for some of a network's parameters, chosen by name.

#include <optional>
#include <string>
#include <string_view>

#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::optim {

/// Parameters whose name matches `pattern` (shell wildcards: "*.bias", "encoder.*"). The first group that
/// matches wins; parameters that none matches keep the optimizer's own values.
struct ParameterGroup {
  std::string pattern;
  double learning_rate_factor = 1;  ///< times the optimizer's rate; 0 keeps them as they are
  std::optional<double> weight_decay = std::nullopt;  ///< instead of the optimizer's

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// "PATTERN:lr=FACTOR,weight_decay=X", either or both: "*.bias:weight_decay=0". The pattern ends at the last
/// colon. @throws ConfigError
ParameterGroup parse_parameter_group(std::string_view text);

/// "*.bias:lr=1,weight_decay=0": as `parse_parameter_group` reads it.
std::string to_string(const ParameterGroup& group);
/// "*.bias: rate x 1, weight decay 0".
std::string describe(const ParameterGroup& group);

bool matches(const ParameterGroup& group, const std::string& parameter);
bool matches_any(const ParameterGroup& group, const tensor::ParameterArenas& arenas);
/// The first few names, for messages: "stem.weight, stem.bias and 30 more".
std::string list_parameters(const tensor::ParameterArenas& arenas);

}  // namespace bunchtrain::optim
