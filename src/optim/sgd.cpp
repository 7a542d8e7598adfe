// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/sgd.hpp"

#include <fmt/format.h>

#include "option_checks.hpp"
#include "option_texts.hpp"
#include "update_arena.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

void SgdOptions::validate() const {
  require_not_negative("learning_rate", learning_rate);
  require_fraction("momentum", momentum);
  require_not_negative("weight_decay", weight_decay);
  expects(!nesterov || momentum > 0, "nesterov = true needs momentum > 0");
}

Sgd::Sgd(tensor::ParameterArenas& arenas, SgdOptions options, const OwnedRanges& owned)
    : FusedOptimizer(arenas, "SGD", options.learning_rate, options.weight_decay, owned), options_(options) {
  options_.validate();
  if (options_.momentum > 0) momentum_ = &add_state("momentum");
}

std::string Sgd::describe() const { return fmt::format("SGD({})", text_of(options_, learning_rate())); }

void Sgd::plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t /*step*/) {
  const tensor::ParameterArena& arena = arenas()[range.arena];
  if (momentum_ == nullptr) {
    const SgdRule<double> rule{.learning_rate = range.learning_rate, .weight_decay = range.weight_decay};
    return plan_update(rule, arena, range, {}, memory);
  }
  const MomentumRule<double> rule{.learning_rate = range.learning_rate,
                                  .weight_decay = range.weight_decay,
                                  .momentum = options_.momentum,
                                  .from_gradient = options_.nesterov ? 1.0 : 0.0,
                                  .from_buffer = options_.nesterov ? options_.momentum : 1.0};
  plan_update(rule, arena, range, {momentum_}, memory);
}

}  // namespace bunchtrain::optim
