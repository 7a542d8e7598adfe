// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/adam.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

TEST(AdamTest, EqualsLibTorch) {
  auto parameters = make_parameters();
  auto copies = copies_of(parameters);
  auto arenas = arenas_of(parameters);
  Adam adam(arenas,
            {.learning_rate = 0.03, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.1});
  torch::optim::Adam reference(
      copies, torch::optim::AdamOptions(0.03).betas({0.8, 0.95}).eps(1e-6).weight_decay(0.1));
  expect_same_training(parameters, adam, arenas, copies, [&](int) { reference.step(); });
}

TEST(AdamWTest, EqualsLibTorch) {
  auto parameters = make_parameters();
  auto copies = copies_of(parameters);
  auto arenas = arenas_of(parameters);
  AdamW adamw(arenas, {.learning_rate = 0.03, .weight_decay = 0.1});
  torch::optim::AdamW reference(copies, torch::optim::AdamWOptions(0.03).weight_decay(0.1));
  expect_same_training(parameters, adamw, arenas, copies, [&](int) { reference.step(); });
}

TEST(AdamWTest, EqualsLibTorchInFloat32) {
  auto parameters = make_parameters(at::kFloat);
  auto copies = copies_of(parameters);
  auto arenas = arenas_of(parameters);
  AdamW adamw(arenas, {.learning_rate = 0.03});
  torch::optim::AdamW reference(copies, torch::optim::AdamWOptions(0.03));
  expect_same_training(
      parameters, adamw, arenas, copies, [&](int) { reference.step(); }, 12, 2e-6);
}

TEST(AdamWTest, DescribesItself) {
  auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  EXPECT_EQ(AdamW(arenas, {.learning_rate = 0.005, .weight_decay = 1e-4}).describe(),
            "AdamW(learning_rate 0.005, betas 0.9 0.999, epsilon 1e-08, weight_decay 0.0001)");
}

TEST(AdamWTest, BadOptionsAreNamed) {
  auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  EXPECT_THROW(AdamW(arenas, {.beta1 = 1}), ConfigError);
  EXPECT_THROW(AdamW(arenas, {.epsilon = 0}), ConfigError);
  try {
    Adam(arenas, {.weight_decay = -1});
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("weight_decay"));
  }
}

}  // namespace
}  // namespace bunchtrain::optim
