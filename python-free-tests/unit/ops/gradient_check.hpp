// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Gradients by autograd against central differences.

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <vector>

#include "unit/ops/tensor_helpers.hpp"

namespace bunchtrain::test {

struct GradientCheck {
  double step = 1e-3;
  double tolerance = 1e-8;  ///< relative to 1 + the gradient
};

/// Gradients of sum(weights * f(inputs)) by autograd, and by central differences: f in float64.
inline void expect_gradients(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& f,
                             std::vector<at::Tensor> inputs, GradientCheck check = {}) {
  for (at::Tensor& input : inputs) input.requires_grad_(true);
  const at::Tensor out = f(inputs);
  const at::Tensor weights = normal_tensor(out.sizes(), 99, at::kDouble);
  const auto gradients = torch::autograd::grad({(out * weights).sum()}, {inputs.begin(), inputs.end()});
  for (std::size_t n = 0; n < inputs.size(); ++n) {
    const auto analytic = values<double>(gradients[n]);
    double* x = inputs[n].mutable_data_ptr<double>();
    for (std::size_t i = 0; i < analytic.size(); ++i) {
      const double middle = x[i];
      const auto value_at = [&](double shifted) {
        x[i] = shifted;
        return (f(inputs).detach() * weights).sum().item<double>();
      };
      const double numeric =
          (value_at(middle + check.step) - value_at(middle - check.step)) / (2 * check.step);
      x[i] = middle;
      ASSERT_NEAR(analytic[i], numeric, check.tolerance * (1 + std::abs(numeric)))
          << "input " << n << ", element " << i;
    }
  }
}

}  // namespace bunchtrain::test
