// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/sgd.hpp"

#include <gtest/gtest.h>
#include <torch/optim/sgd.h>

#include "bunchtrain/core/error.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

struct SgdCase {
  double momentum;
  bool nesterov;
  double weight_decay;
};

class SgdTest : public testing::TestWithParam<SgdCase> {};

TEST_P(SgdTest, EqualsLibTorch) {
  const SgdCase c = GetParam();
  auto parameters = make_parameters();
  auto copies = copies_of(parameters);
  auto arenas = arenas_of(parameters);
  Sgd sgd(arenas, {.learning_rate = 0.02,
                   .momentum = c.momentum,
                   .nesterov = c.nesterov,
                   .weight_decay = c.weight_decay});
  torch::optim::SGD reference(
      copies,
      torch::optim::SGDOptions(0.02).momentum(c.momentum).nesterov(c.nesterov).weight_decay(c.weight_decay));
  expect_same_training(parameters, sgd, arenas, copies, [&](int) { reference.step(); });
}

INSTANTIATE_TEST_SUITE_P(Forms, SgdTest,
                         testing::Values(SgdCase{0, false, 0}, SgdCase{0, false, 0.1},
                                         SgdCase{0.9, false, 0.1}, SgdCase{0.9, true, 0.1}));

TEST(SgdOptionsTest, NesterovNeedsMomentum) {
  EXPECT_THROW(SgdOptions({.nesterov = true}).validate(), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::optim
