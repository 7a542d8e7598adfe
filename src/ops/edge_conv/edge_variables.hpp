// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The differentiable inputs of a block as autograd lists them, in one order for all devices.

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "bunchtrain/ops/edge_conv.hpp"
#include "edge_conv/edge_layers.hpp"

namespace bunchtrain::ops::detail {

using torch::autograd::variable_list;

inline variable_list variables_of(const EdgeConvLayers& layers, const at::Tensor& terms) {
  const auto& [first, second, third] = layers.norms;
  return {terms,
          layers.weights[1].flatten(1),
          layers.weights[2].flatten(1),
          first.weight,
          first.bias,
          second.weight,
          second.bias,
          third.weight,
          third.bias};
}

inline EdgeLayers layers_of(const variable_list& variables) {
  return {.terms = variables[0],
          .weights = {at::Tensor(), variables[1], variables[2]},
          .scales = {variables[3], variables[5], variables[7]},
          .shifts = {variables[4], variables[6], variables[8]}};
}

/// What a backward pass returns: there is none for the call.
inline variable_list list_gradients(const EdgeGradients& of) {
  return {of.terms,     of.weights[1], of.weights[2], of.scales[0], of.shifts[0],
          of.scales[1], of.shifts[1],  of.scales[2],  of.shifts[2], {}};
}

inline bool are_differentiated(const variable_list& variables) {
  return c10::GradMode::is_enabled() &&
         std::ranges::any_of(variables, [](const at::Tensor& variable) { return variable.requires_grad(); });
}

template <class Function, class Call>
at::Tensor apply_function(const variable_list& v, Call* call) {
  return Function::apply(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], call);
}

}  // namespace bunchtrain::ops::detail
