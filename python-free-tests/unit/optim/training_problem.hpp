// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A small problem on which optimizers are compared.

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::optim {

/// Parameters of odd sizes (so that arenas have padding), float64 unless said otherwise.
inline std::vector<at::Tensor> make_parameters(at::ScalarType dtype = at::kDouble) {
  std::vector<at::Tensor> parameters;
  for (const auto& sizes : std::vector<std::vector<std::int64_t>>{{7, 5}, {5}, {1}, {33, 3}}) {
    parameters.push_back(at::randn(sizes, at::TensorOptions(dtype)).requires_grad_());
  }
  return parameters;
}

inline std::vector<at::Tensor> copies_of(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> copies;
  for (const auto& parameter : parameters) copies.push_back(parameter.detach().clone().requires_grad_());
  return copies;
}

inline tensor::ParameterArenas arenas_of(const std::vector<at::Tensor>& parameters) {
  std::vector<tensor::NamedParameter> named;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    named.push_back({"p" + std::to_string(i), parameters[i]});
  return tensor::create_arenas(std::move(named));
}

/// Leaves the gradient of a loss that depends on the parameters and, gently, on the step.
inline void backward(const std::vector<at::Tensor>& parameters, int step) {
  at::Tensor loss;
  for (const auto& parameter : parameters) {
    const at::Tensor term = (parameter.square() * (1 + 0.1 * step) + parameter.sin()).sum();
    loss = loss.defined() ? loss + term : term;
  }
  loss.backward();
}

inline void expect_equal(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected,
                         double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double scale = expected[i].abs().max().item<double>();
    EXPECT_LE((found[i] - expected[i]).abs().max().item<double>(), tolerance * scale) << "parameter " << i;
  }
}

/// Steps `optimizer` on `parameters` (already in its arenas) and `reference`, a callable that updates
/// `copies`, side by side.
inline void expect_same_training(std::vector<at::Tensor>& parameters, Optimizer& optimizer,
                                 tensor::ParameterArenas& arenas, std::vector<at::Tensor>& copies,
                                 const std::function<void(int step)>& reference, int steps = 12,
                                 double tolerance = 1e-12) {
  for (int step = 1; step <= steps; ++step) {
    for (auto& arena : arenas) {
      arena.begin_pass();
      arena.zero_gradients();
    }
    backward(parameters, step);
    optimizer.step();
    for (auto& copy : copies) copy.mutable_grad().reset();
    backward(copies, step);
    reference(step);
  }
  expect_equal(parameters, copies, tolerance);
}

}  // namespace bunchtrain::optim
