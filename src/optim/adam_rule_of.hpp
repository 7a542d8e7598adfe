// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The rule that Adam and AdamW share.

#include <cmath>
#include <cstdint>

#include "update_rules.hpp"

namespace bunchtrain::optim {

/// @param l2 decay added to the gradient (Adam)
/// @param decoupled decay taken off the parameter (AdamW)
template <class Options>
AdamRule<double> make_adam_rule(const Options& options, double learning_rate, double l2, double decoupled,
                                std::int64_t step) {
  const double count = static_cast<double>(step);
  return {.beta1 = options.beta1,
          .one_minus_beta1 = 1 - options.beta1,
          .beta2 = options.beta2,
          .one_minus_beta2 = 1 - options.beta2,
          .epsilon = options.epsilon,
          .l2 = l2,
          .keep = 1 - learning_rate * decoupled,
          .step_size = learning_rate / (1 - std::pow(options.beta1, count)),
          .inverse_bias2_root = 1 / std::sqrt(1 - std::pow(options.beta2, count))};
}

}  // namespace bunchtrain::optim
