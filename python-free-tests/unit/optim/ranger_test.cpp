// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/ranger.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

/// Algorithm 2 of 1908.03265 inside algorithm 1 of 1907.08610, term by term, on plain tensors.
class PaperRanger {
 public:
  PaperRanger(std::vector<at::Tensor>& parameters, RangerOptions options)
      : parameters_(parameters), options_(options) {
    for (const auto& parameter : parameters) {
      momenta_.push_back(at::zeros_like(parameter.detach()));
      velocities_.push_back(at::zeros_like(parameter.detach()));
      slow_.push_back(parameter.detach().clone());
    }
  }

  void step(int t) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      radam(i, t);
      if (options_.lookahead_steps > 0 && t % options_.lookahead_steps == 0) {
        slow_[i].add_(parameters_[i] - slow_[i], options_.lookahead_factor);
        parameters_[i].copy_(slow_[i]);
      }
    }
  }

 private:
  void radam(std::size_t i, int t) {
    const double b1 = options_.beta1;
    const double b2 = options_.beta2;
    const at::Tensor gradient = parameters_[i].grad();
    momenta_[i] = b1 * momenta_[i] + (1 - b1) * gradient;
    velocities_[i] = b2 * velocities_[i] + (1 - b2) * gradient.square();
    parameters_[i].mul_(1 - options_.learning_rate * options_.weight_decay);
    const at::Tensor corrected = momenta_[i] / (1 - std::pow(b1, t));
    const double rho_inf = 2 / (1 - b2) - 1;
    const double rho = rho_inf - 2 * t * std::pow(b2, t) / (1 - std::pow(b2, t));
    if (rho < 5) {
      parameters_[i].sub_(options_.learning_rate * corrected);
      return;
    }
    const double r = std::sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho));
    const at::Tensor root = (velocities_[i].sqrt() + options_.epsilon) / std::sqrt(1 - std::pow(b2, t));
    parameters_[i].sub_(options_.learning_rate * r * corrected / root);
  }

  std::vector<at::Tensor>& parameters_;
  RangerOptions options_;
  std::vector<at::Tensor> momenta_, velocities_, slow_;
};

class RangerTest : public testing::TestWithParam<RangerOptions> {};

TEST_P(RangerTest, EqualsThePapers) {
  auto parameters = make_parameters();
  auto copies = copies_of(parameters);
  auto arenas = arenas_of(parameters);
  Ranger ranger(arenas, GetParam());
  PaperRanger reference(copies, GetParam());
  expect_same_training(
      parameters, ranger, arenas, copies, [&](int step) { reference.step(step); }, 20);
}

INSTANTIATE_TEST_SUITE_P(Forms, RangerTest,
                         testing::Values(RangerOptions{},
                                         RangerOptions{.learning_rate = 0.02, .weight_decay = 0.1},
                                         RangerOptions{.lookahead_steps = 0},
                                         RangerOptions{.lookahead_steps = 1, .lookahead_factor = 0.8}));

TEST(RangerOptionsTest, DefaultsAreThePublishedOnes) {
  const RangerOptions options;
  EXPECT_EQ(options.beta1, 0.95);
  EXPECT_EQ(options.epsilon, 1e-5);
  EXPECT_EQ(options.lookahead_steps, 6);
  EXPECT_EQ(options.lookahead_factor, 0.5);
  EXPECT_THROW(RangerOptions({.lookahead_factor = 0}).validate(), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::optim
