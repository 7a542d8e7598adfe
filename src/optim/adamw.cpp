// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/adamw.hpp"

#include <fmt/format.h>

#include "adam_rule_of.hpp"
#include "option_checks.hpp"
#include "option_texts.hpp"
#include "update_arena.hpp"

namespace bunchtrain::optim {

void AdamWOptions::validate() const {
  require_not_negative("learning_rate", learning_rate);
  require_fraction("beta1", beta1);
  require_fraction("beta2", beta2);
  require_positive("epsilon", epsilon);
  require_not_negative("weight_decay", weight_decay);
}

AdamW::AdamW(tensor::ParameterArenas& arenas, AdamWOptions options, const OwnedRanges& owned)
    : FusedOptimizer(arenas, "AdamW", options.learning_rate, options.weight_decay, owned), options_(options) {
  options_.validate();
  exp_avg_ = &add_state("exp_avg");
  exp_avg_sq_ = &add_state("exp_avg_sq");
}

std::string AdamW::describe() const { return fmt::format("AdamW({})", text_of(options_, learning_rate())); }

void AdamW::plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) {
  const auto rule = make_adam_rule(options_, range.learning_rate, 0, range.weight_decay, step);
  plan_update(rule, arenas()[range.arena], range, {exp_avg_, exp_avg_sq_}, memory);
}

}  // namespace bunchtrain::optim
