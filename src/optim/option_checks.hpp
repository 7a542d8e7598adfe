// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Checks that the options of several optimizers share.

#include <cmath>
#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::optim {

inline void require_not_negative(std::string_view field, double value) {
  if (!(std::isfinite(value) && value >= 0))
    throw ConfigError(field, std::to_string(value), "a finite number >= 0");
}

/// Zero would make 0 / 0 of a parameter that never had a gradient.
inline void require_positive(std::string_view field, double value) {
  if (!(std::isfinite(value) && value > 0))
    throw ConfigError(field, std::to_string(value), "a finite number > 0");
}

/// Decay rates of moving averages.
inline void require_fraction(std::string_view field, double value) {
  if (!(value >= 0 && value < 1)) throw ConfigError(field, std::to_string(value), "0 <= value < 1");
}

}  // namespace bunchtrain::optim
