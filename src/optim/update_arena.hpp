// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From an optimizer's rule to the memory of an arena: dtype and device are decided here.

#include <array>

#include "bunchtrain/optim/ema.hpp"
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
                    .state = {},
                    .average = nullptr,
                    .average_weight = 0,
                    .count = range.end - range.begin};
  for (std::size_t s = 0; s < states.size() && states[s] != nullptr; ++s) {
    flat.state[s] = (*states[s])[range.arena].template mutable_data_ptr<T>() + range.in_state;
  }
  return flat;
}

/// The range of a moving average, for kernels that move it on with the values; the whole arena is owned then.
template <class T>
void add_average(FlatRange<T>& flat, const Ema& average, const UpdateRange& range) {
  flat.average = average.averages()[range.arena].mutable_data_ptr<T>() + range.begin;
  flat.average_weight = 1 - average.decay();
}

/// Plans `rule` for one range of one arena; `states` as the rule's arguments, unused ones nullptr.
template <template <class> class Rule>
void plan_update(const Rule<double>& rule, const tensor::ParameterArena& arena, const UpdateRange& range,
                 const FlatStates& states, StepMemory& memory) {
  const auto plan = [&]<class T>(const Rule<T>& rounded) {
    FlatRange<T> flat = flat_range<T>(arena, range, states);
    if (memory.average() != nullptr) add_average(flat, *memory.average(), range);
    memory.plan(rounded, flat);
  };
  if (arena.values().scalar_type() == at::kDouble)
    plan(rule);
  else
    plan(rule.template as<float>());
}

}  // namespace bunchtrain::optim
