// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/loss_scale.hpp"

#include "option_checks.hpp"

namespace bunchtrain::optim {

void LossScaleOptions::validate() const {
  require_positive("initial loss scale", initial);
  if (!(std::isfinite(growth) && growth >= 1))
    throw ConfigError("growth of the loss scale", std::to_string(growth), "a finite number >= 1");
  if (!(backoff > 0 && backoff < 1))
    throw ConfigError("backoff of the loss scale", std::to_string(backoff), "0 < value < 1");
  require_positive("interval of the loss scale", static_cast<double>(interval));
}

}  // namespace bunchtrain::optim
