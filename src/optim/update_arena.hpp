// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From an optimizer's rule to the memory of an arena: dtype and device are decided here.

#include <array>

#include "bunchtrain/optim/fused_optimizer.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"
#include "step_memory.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

using FlatStates = std::array<const std::vector<at::Tensor>*, kMaxStates>;

template <class T>
FlatRange<T> flat_range(const tensor::ParameterArena& arena, const UpdateRange& range,
                        const FlatStates& states) {
  FlatRange<T> flat{.value = arena.values().mutable_data_ptr<T>() + range.begin,
                    .gradient = arena.gradients().const_data_ptr<T>() + range.begin,
                    .gradient_scale = nullptr,
                    .state = {},
                    .count = range.end - range.begin};
  for (std::size_t s = 0; s < states.size() && states[s] != nullptr; ++s) {
    flat.state[s] = (*states[s])[range.arena].template mutable_data_ptr<T>() + range.in_state;
  }
  return flat;
}

/// Plans `rule` for one range of one arena; `states` as the rule's arguments, unused ones nullptr.
template <template <class> class Rule>
void plan_update(const Rule<double>& rule, const tensor::ParameterArena& arena, const UpdateRange& range,
                 const FlatStates& states, StepMemory& memory) {
  if (arena.values().scalar_type() == at::kDouble) {
    memory.plan(rule, flat_range<double>(arena, range, states));
  } else {
    memory.plan(rule.template as<float>(), flat_range<float>(arena, range, states));
  }
}

}  // namespace bunchtrain::optim
