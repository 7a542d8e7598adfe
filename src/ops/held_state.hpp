// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Carries a C++ object from an autograd function's forward to its backward.

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>

namespace bunchtrain::ops::detail {

struct HeldState : torch::CustomClassHolder {
  explicit HeldState(std::shared_ptr<void> object) : object(std::move(object)) {}
  std::shared_ptr<void> object;
};

/// Keeps `state` alive as long as the graph's node. Not for inputs and outputs: those
/// go through `save_for_backward`.
template <class State>
void hold_state(torch::autograd::AutogradContext* context, std::shared_ptr<State> state) {
  context->saved_data["state"] = c10::IValue::make_capsule(c10::make_intrusive<HeldState>(std::move(state)));
}

template <class State>
State& held_state(torch::autograd::AutogradContext* context) {
  const auto capsule = context->saved_data["state"].toCapsule();
  return *static_cast<State*>(static_cast<HeldState*>(capsule.get())->object.get());
}

}  // namespace bunchtrain::ops::detail
