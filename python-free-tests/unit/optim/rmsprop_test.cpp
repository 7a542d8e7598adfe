// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/rmsprop.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/optim/rmsprop.h>

#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

class RmspropTest : public testing::TestWithParam<double> {};

TEST_P(RmspropTest, TorchFormEqualsLibTorch) {
  auto parameters = make_parameters();
  auto copies = copies_of(parameters);
  auto arenas = arenas_of(parameters);
  Rmsprop rmsprop(arenas, {.learning_rate = 0.01, .decay = 0.9, .momentum = GetParam(), .weight_decay = 0.1});
  torch::optim::RMSprop reference(
      copies, torch::optim::RMSpropOptions(0.01).alpha(0.9).momentum(GetParam()).weight_decay(0.1));
  expect_same_training(parameters, rmsprop, arenas, copies, [&](int) { reference.step(); });
}

// keras/src/optimizers/rmsprop.py, update_step, written out.
TEST_P(RmspropTest, KerasFormEqualsItsDefinition) {
  auto parameters = make_parameters();
  auto copies = copies_of(parameters);
  auto arenas = arenas_of(parameters);
  RmspropOptions options = RmspropOptions::keras3();
  options.learning_rate = 0.01;
  options.momentum = GetParam();
  Rmsprop rmsprop(arenas, options);
  std::vector<at::Tensor> velocities;
  std::vector<at::Tensor> momenta;
  for (const auto& copy : copies) {
    velocities.push_back(at::zeros_like(copy.detach()));
    momenta.push_back(at::zeros_like(copy.detach()));
  }
  const auto reference = [&](int) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < copies.size(); ++i) {
      const at::Tensor gradient = copies[i].grad();
      velocities[i].mul_(0.9).add_(gradient.square(), 0.1);
      const at::Tensor increment = 0.01 * gradient / (velocities[i] + 1e-7).sqrt();
      momenta[i].mul_(GetParam()).add_(increment);
      copies[i].sub_(momenta[i]);
    }
  };
  expect_same_training(parameters, rmsprop, arenas, copies, reference);
}

INSTANTIATE_TEST_SUITE_P(Momentum, RmspropTest, testing::Values(0.0, 0.7));

}  // namespace
}  // namespace bunchtrain::optim
