// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From an optimizer's rule to the memory of an arena: dtype and device are decided here.

#include <c10/core/DeviceGuard.h>

#include <array>

#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/optim/fused_optimizer.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"
#include "flat_update.hpp"

namespace bunchtrain::optim {

using FlatStates = std::array<const std::vector<at::Tensor>*, kMaxStates>;

template <template <class> class Rule, class T>
void update_arena_of(const Rule<double>& rule, const tensor::ParameterArena& arena, const UpdateRange& range,
                     const GradientScale& scale, const FlatStates& states) {
  FlatRange<T> flat{
      .value = arena.values().mutable_data_ptr<T>() + range.begin,
      .gradient = arena.gradients().const_data_ptr<T>() + range.begin,
      .gradient_scale = static_cast<T>(scale.value),
      .device_scale = scale.on_device.defined() ? scale.on_device.const_data_ptr<double>() : nullptr,
      .state = {},
      .count = range.end - range.begin};
  for (std::size_t s = 0; s < states.size() && states[s] != nullptr; ++s) {
    flat.state[s] = (*states[s])[range.arena].template mutable_data_ptr<T>() + range.in_state;
  }
  const auto rounded = rule.template as<T>();
  const c10::Device device = arena.values().device();
  if (device.is_cpu()) return update_on_cpu(rounded, flat);
  const c10::DeviceGuard guard(device);
  update_on_gpu(rounded, flat, device::current_stream(device));
}

/// Applies `rule` to one range of one arena; `states` as the rule's arguments, unused ones nullptr.
template <template <class> class Rule>
void update_arena(const Rule<double>& rule, const tensor::ParameterArenas& arenas, const UpdateRange& range,
                  const GradientScale& scale, const FlatStates& states) {
  const tensor::ParameterArena& arena = arenas[range.arena];
  if (arena.values().scalar_type() == at::kDouble) {
    update_arena_of<Rule, double>(rule, arena, range, scale, states);
  } else {
    update_arena_of<Rule, float>(rule, arena, range, scale, states);
  }
}

}  // namespace bunchtrain::optim
