// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an optimizer's description says of its options. The learning rate is the present one.

#include <fmt/format.h>

#include <string>

#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/optim/sgd.hpp"

namespace bunchtrain::optim {

/// Of Adam and AdamW.
template <class Options>
std::string text_of(const Options& options, double learning_rate) {
  return fmt::format("learning_rate {:g}, betas {:g} {:g}, epsilon {:g}, weight_decay {:g}", learning_rate,
                     options.beta1, options.beta2, options.epsilon, options.weight_decay);
}

inline std::string text_of(const SgdOptions& options, double learning_rate) {
  return fmt::format("learning_rate {:g}, momentum {:g}{}, weight_decay {:g}", learning_rate,
                     options.momentum, options.nesterov ? " Nesterov" : "", options.weight_decay);
}

inline std::string text_of(const RmspropOptions& options, double learning_rate) {
  return fmt::format(
      "{} form, learning_rate {:g}, decay {:g}, epsilon {:g}, momentum {:g}, weight_decay {:g}",
      options.form == RmspropForm::keras ? "Keras" : "PyTorch", learning_rate, options.decay, options.epsilon,
      options.momentum, options.weight_decay);
}

}  // namespace bunchtrain::optim
