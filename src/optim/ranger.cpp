// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/ranger.hpp"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>

#include "option_checks.hpp"
#include "update_arena.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

namespace {

/// Below this many degrees of freedom the variance of the adaptive rate is not tractable
/// (1908.03265, algorithm 2).
constexpr double kTractable = 5;

RadamRule<double> make_radam_rule(const RangerOptions& options, const UpdateRange& range, std::int64_t step) {
  const double t = static_cast<double>(step);
  const double bias1 = 1 - std::pow(options.beta1, t);
  const double power2 = std::pow(options.beta2, t);
  const double bias2 = 1 - power2;
  const double rho_infinity = 2 / (1 - options.beta2) - 1;
  const double rho = rho_infinity - 2 * t * power2 / bias2;
  const bool adaptive = rho >= kTractable;
  double rectification = 1;
  if (adaptive) {
    rectification = std::sqrt(bias2 * (rho - 4) / (rho_infinity - 4) * (rho - 2) / rho * rho_infinity /
                              (rho_infinity - 2));
  }
  return {.beta1 = options.beta1,
          .one_minus_beta1 = 1 - options.beta1,
          .beta2 = options.beta2,
          .one_minus_beta2 = 1 - options.beta2,
          .epsilon = options.epsilon,
          .keep = 1 - range.learning_rate * range.weight_decay,
          .step_size = range.learning_rate * rectification / bias1,
          .adaptive = adaptive ? 1.0 : 0.0};
}

}  // namespace

void RangerOptions::validate() const {
  require_not_negative("learning_rate", learning_rate);
  require_fraction("beta1", beta1);
  require_fraction("beta2", beta2);
  require_positive("epsilon", epsilon);
  require_not_negative("weight_decay", weight_decay);
  require_not_negative("lookahead_steps", static_cast<double>(lookahead_steps));
  if (!(lookahead_factor > 0 && lookahead_factor <= 1)) {
    throw ConfigError("lookahead_factor", std::to_string(lookahead_factor), "0 < value <= 1");
  }
}

Ranger::Ranger(tensor::ParameterArenas& arenas, RangerOptions options, const OwnedRanges& owned)
    : FusedOptimizer(arenas, "Ranger", options.learning_rate, options.weight_decay, owned),
      options_(options) {
  options_.validate();
  exp_avg_ = &add_state("exp_avg");
  exp_avg_sq_ = &add_state("exp_avg_sq");
  if (options_.lookahead_steps > 0) slow_ = &add_state("slow");
}

std::string Ranger::describe() const {
  return fmt::format(
      "Ranger(learning_rate {:g}, betas {:g} {:g}, epsilon {:g}, weight_decay {:g}, lookahead {} x {:g})",
      learning_rate(), options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay,
      options_.lookahead_steps, options_.lookahead_factor);
}

void Ranger::plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) {
  const tensor::ParameterArena& arena = arenas()[range.arena];
  if (slow_ != nullptr && step == 1) {
    // Not in the constructor: weights may be loaded between construction and the first step.
    const at::NoGradGuard no_grad;
    const std::int64_t count = range.end - range.begin;
    const at::Tensor fast = arena.values().narrow(0, range.begin, count);
    (*slow_)[range.arena].narrow(0, range.in_state, count).copy_(fast);
  }
  const RadamRule<double> radam = make_radam_rule(options_, range, step);
  if (slow_ == nullptr) return plan_update(radam, arena, range, {exp_avg_, exp_avg_sq_}, memory);
  const bool due = step % options_.lookahead_steps == 0;
  const RangerRule<double> rule{.radam = radam, .factor = due ? options_.lookahead_factor : 0};
  plan_update(rule, arena, range, {exp_avg_, exp_avg_sq_, slow_}, memory);
}

}  // namespace bunchtrain::optim
