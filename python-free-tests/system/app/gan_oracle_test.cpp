// SPDX-License-Identifier: Apache-2.0
/// One full 3DGAN step against an independent implementation in float64.
#include <ATen/ops/ones_like.h>
#include <gtest/gtest.h>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan_step.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::shower_simulation {
namespace {

using models::ShowerVariant;

/// Largest difference relative to the largest expected value.
double relative_difference(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor wide = expected.to(at::kDouble);
  const double scale = wide.abs().max().item<double>();
  return (found.detach().to(at::kDouble) - wide).abs().max().item<double>() / std::max(scale, 1e-30);
}

/// The oracle's networks and optimizers, and its step in parts.
class GanStepOracle {
 public:
  explicit GanStepOracle(ShowerVariant variant)
      : file_(weights::read_safetensors(std::string(BUNCHTRAIN_TEST_DATA) + "/oracle/3dgan_" +
                                        (variant == ShowerVariant::fixed_angle ? "25" : "51") +
                                        ".safetensors")),
        variant_(variant),
        generator(models::ShowerGeneratorOptions{.variant = variant}),
        discriminator(models::ShowerDiscriminatorOptions{.variant = variant, .dropout = 0}),
        g(prepare(generator, "generator."), alone()),
        d(prepare(discriminator, "discriminator."), alone()),
        g_optimizer(g, rmsprop()),
        d_optimizer(d, rmsprop()),
        step({generator, &g, &g_optimizer}, {discriminator, &d, &d_optimizer},
             {.weights = models::ShowerLossWeights::published(variant),
              .response = EnergyResponse::published()}) {}

  at::Tensor operator[](const std::string& name) const {
    const at::Tensor& stored = file_.tensors[name];
    return stored.to(at::kDouble);
  }
  models::ShowerTargets targets(const std::string& group, const at::Tensor& real, int row = -1) const {
    const auto get = [&](const char* name) {
      const at::Tensor all = (*this)["input." + group + "." + name];
      return row < 0 ? all : all[row];
    };
    models::ShowerTargets targets{.real = real, .energy = get("aux"), .sum = get("ecal")};
    if (variant_ == ShowerVariant::variable_angle) targets.angle = get("angle");
    return targets;
  }
  PassCounts counts() const {
    const auto batch = (*this)["input.image"].size(0);
    return {batch, batch};
  }
  void expect_losses(const std::string& pass, const models::ShowerLosses& losses) const {
    const at::Tensor expected = (*this)["expected." + pass + ".losses"];
    std::vector<at::Tensor> found = {losses.total, losses.generation, losses.energy};
    if (variant_ == ShowerVariant::variable_angle) found.push_back(losses.angle);
    found.push_back(losses.sum);
    ASSERT_EQ(expected.numel(), static_cast<std::int64_t>(found.size()));
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i].item<double>(), expected[static_cast<std::int64_t>(i)].item<double>(),
                  1e-6 * std::max(1.0, std::abs(expected[static_cast<std::int64_t>(i)].item<double>())))
          << pass << ", loss " << i;
  }
  void expect_gradients(const std::string& pass, const torch::nn::Module& network) const {
    for (const auto& parameter : network.named_parameters())
      EXPECT_LT(relative_difference(parameter.value().grad(),
                                    (*this)["expected." + pass + ".grad." + parameter.key()]),
                1e-6)
          << pass << ", " << parameter.key();
  }
  void expect_buffers(const std::string& name, const torch::nn::Module& network) const {
    for (const auto& buffer : network.named_buffers()) {
      if (buffer.key().ends_with("num_batches_tracked")) continue;
      EXPECT_LT(relative_difference(buffer.value(), (*this)["expected.after." + name + "." + buffer.key()]),
                1e-6)
          << name << ", " << buffer.key();
    }
  }

 private:
  static comm::Communicator alone() { return comm::Communicator::create(mpi::Comm::self(), c10::kCPU); }
  static optim::RmspropOptions rmsprop() { return {.learning_rate = 1e-3, .decay = 0.9, .epsilon = 1e-7}; }
  template <class Network>
  Network& prepare(Network& network, const std::string& prefix) {
    NamedTensors own;
    for (const auto& [name, tensor] : file_.tensors)
      if (name.starts_with(prefix)) own.set(name.substr(prefix.size()), tensor);
    network->to(at::kDouble);
    for (const auto& buffer : network->named_buffers())  // the oracle does not count batches
      if (!own.contains(buffer.key())) own.set(buffer.key(), buffer.value());
    weights::load_into(*network, own, "oracle");
    network->train();
    return network;
  }

  weights::SafeTensors file_;
  ShowerVariant variant_;

 public:
  models::ShowerGenerator generator;
  models::ShowerDiscriminator discriminator;
  parallel::DataParallel g, d;
  optim::Rmsprop g_optimizer, d_optimizer;
  ShowerGanStep step;
};

class GanOracleTest : public ::testing::TestWithParam<ShowerVariant> {
 protected:
  void SetUp() override { device::keep_freed_memory(); }
};

TEST_P(GanOracleTest, EveryPassOfAStepEqualsTheIndependentImplementation) {
  GanStepOracle oracle(GetParam());
  const at::Tensor latent = oracle["input.latent"];
  const at::Tensor fakes = oracle.step.generate(latent[0]);
  EXPECT_LT(relative_difference(fakes, oracle["expected.fake"].squeeze(1)), 1e-6);

  const auto on_real =
      oracle.step.train_discriminator(oracle["input.image"].squeeze(1),
                                      oracle.targets("real_target", oracle["label.d_real"]), oracle.counts());
  oracle.expect_losses("d_real", on_real);
  oracle.expect_gradients("d_real", *oracle.discriminator);
  oracle.expect_losses("d_fake",
                       oracle.step.train_discriminator(
                           fakes, oracle.targets("fake_target", oracle["label.d_fake"], 0), oracle.counts()));
  const at::Tensor ones = at::ones_like(oracle["label.d_real"]);
  oracle.expect_losses(
      "g1", oracle.step.train_generator(latent[1], oracle.targets("fake_target", ones, 1), oracle.counts()));
  oracle.expect_gradients("g1", *oracle.generator);
  oracle.expect_losses(
      "g2", oracle.step.train_generator(latent[2], oracle.targets("fake_target", ones, 2), oracle.counts()));
  oracle.expect_buffers("discriminator", *oracle.discriminator);
  oracle.expect_buffers("generator", *oracle.generator);
}

TEST(GanStepTest, TheGeneratorsUpdateComputesNoGradientOfTheDiscriminator) {
  GanStepOracle oracle(ShowerVariant::fixed_angle);
  for (auto& parameter : oracle.discriminator->parameters()) parameter.mutable_grad().fill_(7);
  const at::Tensor ones = at::ones_like(oracle["label.d_real"]);
  oracle.step.train_generator(oracle["input.latent"][1], oracle.targets("fake_target", ones, 1),
                              oracle.counts());
  for (const auto& parameter : oracle.discriminator->named_parameters()) {
    EXPECT_TRUE(parameter.value().grad().eq(7).all().item<bool>()) << parameter.key();
    EXPECT_TRUE(parameter.value().requires_grad()) << parameter.key();
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, GanOracleTest,
                         ::testing::Values(ShowerVariant::fixed_angle, ShowerVariant::variable_angle),
                         [](const auto& variant) {
                           return variant.param == ShowerVariant::fixed_angle ? "FixedAngle"
                                                                              : "VariableAngle";
                         });

}  // namespace
}  // namespace bunchtrain::shower_simulation
