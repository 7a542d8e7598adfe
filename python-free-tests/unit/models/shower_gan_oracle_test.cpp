// SPDX-License-Identifier: Apache-2.0
// Both networks of both 3DGANs against an independent implementation in float64 (see the data folder's
// README). The files hold weights, inputs, images and gradients rounded to float32, outputs and losses in
// float64. The first discriminator pass is the only one whose inputs are in the file without an update before
// it; the rest of the step is tested where it is made.
#include <gtest/gtest.h>

#include "bunchtrain/models/3dgan/discriminator.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/models/3dgan/losses.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "support/oracle.hpp"

namespace bunchtrain::models {
namespace {

using test::child;
using test::relative_difference;

constexpr double kRoundedTolerance = 2e-7;  // float64 against its float32 rounding
constexpr double kValueTolerance = 1e-6;
constexpr double kGradientTolerance = 1e-6;

/// Those that the variant has, in the file's order.
std::vector<at::Tensor> rows(auto... tensors) {
  std::vector<at::Tensor> defined;
  for (const at::Tensor& tensor : {tensors...})
    if (tensor.defined()) defined.push_back(tensor);
  return defined;
}

void expect_rows(const std::vector<at::Tensor>& rows, const at::Tensor& expected, std::string_view what) {
  ASSERT_EQ(expected.size(0), static_cast<std::int64_t>(rows.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_LT(relative_difference(rows[i], expected[static_cast<std::int64_t>(i)]), kValueTolerance)
        << what << " " << i;
  }
}

class ShowerGanOracleTest : public testing::TestWithParam<ShowerVariant> {
 protected:
  ShowerGanOracleTest()
      : file_(test::read_oracle(GetParam() == ShowerVariant::fixed_angle ? "3dgan_25" : "3dgan_51")) {}

  at::Tensor input(std::string_view name) const { return file_.tensors[name].to(at::kDouble); }
  /// [B, X, Y, Z] of [B, 1, X, Y, Z].
  at::Tensor images(std::string_view name) const { return input(name).squeeze(1); }

  ShowerDiscriminator make_discriminator() const {
    ShowerDiscriminator network(ShowerDiscriminatorOptions{.variant = GetParam(), .dropout = 0});
    network->to(at::kDouble);
    weights::load_into(*network, child(file_.tensors, "discriminator"), "oracle");
    return network;
  }
  ShowerTargets real_targets() const {
    ShowerTargets targets{.real = input("label.d_real"),
                          .energy = input("input.real_target.aux"),
                          .sum = input("input.real_target.ecal")};
    if (GetParam() == ShowerVariant::variable_angle) targets.angle = input("input.real_target.angle");
    return targets;
  }

  weights::SafeTensors file_;
};

TEST_P(ShowerGanOracleTest, GeneratorInInference) {
  ShowerGenerator network(ShowerGeneratorOptions{.variant = GetParam()});
  network->to(at::kDouble);
  weights::load_into(*network, child(file_.tensors, "generator"), "oracle");
  network->eval();
  const at::Tensor fakes = network->forward(input("input.latent")[0]);
  EXPECT_LT(relative_difference(fakes, images("expected.fake")), kRoundedTolerance);
}

TEST_P(ShowerGanOracleTest, LatentVectors) {
  const at::Tensor noise = input("input.noise")[0];
  const at::Tensor energy = input("input.fake_target.aux")[0] * kEnergyUnit;
  const at::Tensor theta =
      GetParam() == ShowerVariant::variable_angle ? input("input.fake_target.angle")[0] : at::Tensor();
  const at::Tensor latent = make_latent(GetParam(), noise, energy, theta);
  EXPECT_LT(relative_difference(latent, input("input.latent")[0]), kRoundedTolerance);
}

TEST_P(ShowerGanOracleTest, JudgementLossesAndGradientsOfTheDiscriminator) {
  ShowerDiscriminator network = make_discriminator();
  const ShowerJudgement judgement = network->forward(images("input.image"));
  const ShowerLosses losses =
      shower_losses(judgement, real_targets(), ShowerLossWeights::published(GetParam()));
  expect_rows(rows(judgement.logit, judgement.energy, judgement.angle, judgement.sum),
              input("expected.d_real.outputs"), "output");
  expect_rows(rows(losses.total, losses.generation, losses.energy, losses.angle, losses.sum),
              input("expected.d_real.losses"), "loss");

  losses.total.backward();
  const NamedTensors expected = child(file_.tensors, "expected.d_real.grad");
  ASSERT_EQ(expected.size(), network->parameters().size());
  for (const auto& item : network->named_parameters()) {
    EXPECT_LT(relative_difference(item.value().grad(), expected[item.key()]), kGradientTolerance)
        << item.key();
  }
}

INSTANTIATE_TEST_SUITE_P(Published, ShowerGanOracleTest,
                         testing::Values(ShowerVariant::fixed_angle, ShowerVariant::variable_angle),
                         [](const auto& info) { return std::string(to_string(info.param)); });

}  // namespace
}  // namespace bunchtrain::models
