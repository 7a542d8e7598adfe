// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/rmsprop.hpp"

#include <fmt/format.h>

#include "option_checks.hpp"
#include "option_texts.hpp"
#include "update_arena.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

RmspropOptions RmspropOptions::keras2() { return {.decay = 0.9, .epsilon = 1e-7}; }
RmspropOptions RmspropOptions::keras3() {
  return {.form = RmspropForm::keras, .decay = 0.9, .epsilon = 1e-7};
}

void RmspropOptions::validate() const {
  require_not_negative("learning_rate", learning_rate);
  require_fraction("decay", decay);
  require_positive("epsilon", epsilon);
  require_fraction("momentum", momentum);
  require_not_negative("weight_decay", weight_decay);
}

Rmsprop::Rmsprop(tensor::ParameterArenas& arenas, RmspropOptions options, const OwnedRanges& owned)
    : FusedOptimizer(arenas, "RMSprop", options.learning_rate, options.weight_decay, owned),
      options_(options) {
  options_.validate();
  square_avg_ = &add_state("square_avg");
  if (options_.momentum > 0) momentum_ = &add_state("momentum");
}

std::string Rmsprop::describe() const {
  return fmt::format("RMSprop({})", text_of(options_, learning_rate()));
}

void Rmsprop::plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t /*step*/) {
  const tensor::ParameterArena& arena = arenas()[range.arena];
  const bool keras = options_.form == RmspropForm::keras;
  const RmspropRule<double> plain{.learning_rate = range.learning_rate,
                                  .weight_decay = range.weight_decay,
                                  .decay = options_.decay,
                                  .one_minus_decay = 1 - options_.decay,
                                  .inside = keras ? options_.epsilon : 0,
                                  .outside = keras ? 0 : options_.epsilon};
  if (momentum_ == nullptr) return plan_update(plain, arena, range, {square_avg_}, memory);
  const RmspropMomentumRule<double> rule{.plain = plain,
                                         .momentum = options_.momentum,
                                         .into_buffer = keras ? range.learning_rate : 1,
                                         .from_buffer = keras ? 1 : range.learning_rate};
  plan_update(rule, arena, range, {square_avg_, momentum_}, memory);
}

}  // namespace bunchtrain::optim
