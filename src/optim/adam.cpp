// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/adam.hpp"

#include <fmt/format.h>

#include "adam_rule_of.hpp"
#include "option_checks.hpp"
#include "option_texts.hpp"
#include "update_arena.hpp"

namespace bunchtrain::optim {

void AdamOptions::validate() const {
  require_not_negative("learning_rate", learning_rate);
  require_fraction("beta1", beta1);
  require_fraction("beta2", beta2);
  require_positive("epsilon", epsilon);
  require_not_negative("weight_decay", weight_decay);
}

Adam::Adam(tensor::ParameterArenas& arenas, AdamOptions options, const OwnedRanges& owned)
    : FusedOptimizer(arenas, "Adam", options.learning_rate, options.weight_decay, owned), options_(options) {
  options_.validate();
  exp_avg_ = &add_state("exp_avg");
  exp_avg_sq_ = &add_state("exp_avg_sq");
}

std::string Adam::describe() const { return fmt::format("Adam({})", text_of(options_, learning_rate())); }

void Adam::plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) {
  const auto rule = make_adam_rule(options_, range.learning_rate, range.weight_decay, 0, step);
  plan_update(rule, arenas()[range.arena], range, {exp_avg_, exp_avg_sq_}, memory);
}

}  // namespace bunchtrain::optim
