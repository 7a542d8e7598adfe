// SPDX-License-Identifier: Apache-2.0
// What users run, on a card: the README's program, the evaluation of its run, showers of a generator.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linspace.h>
#include <gtest/gtest.h>

#include <bunchtrain/bunchtrain.hpp>
#include <filesystem>

#include "bunchtrain/simulate/toy_jets.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"
#include "gpu/device_under_test.hpp"
#include "support/flags.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::test {
namespace {

class ProgramsGpuTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  /// Of a program with `more` options, called with `flags`.
  static train::Session session(std::vector<config::OptionSpec> more, std::vector<std::string> flags) {
    return app::open_session(parse_flags(std::move(flags), std::move(more)), mpi::Comm::self(), {});
  }
  std::string path(const std::string& name) const { return (root_ / name).string(); }

  const c10::Device device_ = device_under_test();
  const std::filesystem::path root_ = std::filesystem::path(testing::TempDir()) / "programs_gpu_test";
};

/// The body of the program in README.md, with fewer epochs.
train::FitResult readme(train::Session& session) {
  namespace bt = bunchtrain;
  auto jets = bt::data::JetDataset({.files = session.option("data"), .card = "toy_jets"});
  auto [train, valid] = jets.split({.valid_fraction = 0.1, .seed = 7});

  bt::models::ParticleNet model({.num_features = 7, .num_classes = 3});
  bt::parallel::DataParallel parallel(model, session.world());
  bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-3});

  bt::train::Trainer trainer(session, parallel, optimizer, bt::train::classification(), {.epochs = 2});
  return trainer.fit(train, valid);
}

metrics::ClassificationResult evaluate_on(train::Session session) {
  const jet_tagging::EvaluateResult result = jet_tagging::evaluate(session, app::evaluate_options(session));
  session.close();
  return result.metrics.value();
}

TEST_F(ProgramsGpuTest, TheReadmesProgramTrainsAndItsRunIsEvaluatedAlikeEverywhere) {
  simulate::write_toy_jets(path("jets.h5"), {.count = 600, .particles = 24});
  const std::string name = device_.is_cpu() ? "cpu" : "cuda";
  {
    train::Session training = session({}, {"--data", path("jets.h5"), "--run", path("run"), "--batch", "64",
                                           "--precision", "float32", "--device", name});
    EXPECT_EQ(training.device().type(), device_.type());
    const train::FitResult result = readme(training);
    training.close();
    EXPECT_EQ(result.epochs, 2);
    EXPECT_TRUE(std::isfinite(result.train_loss));
    EXPECT_EQ(result.validation.value().score_name, "valid_auc of three_prong");
    EXPECT_GT(result.validation.value().score.value(), 0.5);
  }
  const auto evaluated = [&](const std::string& device) {
    return evaluate_on(
        session(app::evaluate_specs(), {"--run", path("run"), "--split", "valid", "--precision", "float32",
                                        "--device", device, "--output", path("scores-" + device)}));
  };
  const auto on_cpu = evaluated("cpu"), on_device = evaluated(name);
  EXPECT_EQ(on_device.samples, on_cpu.samples);
  EXPECT_NEAR(on_device.loss, on_cpu.loss, 1e-4);
  EXPECT_NEAR(on_device.auc, on_cpu.auc, 1e-3);
}

TEST_F(ProgramsGpuTest, AGeneratorMakesTheShowersOfTheCpu) {
  for (const auto variant : {models::ShowerVariant::fixed_angle, models::ShowerVariant::variable_angle}) {
    const at::Tensor numbers = at::arange(6), energy = at::linspace(20, 90, 6, at::kDouble),
                     theta = at::linspace(1.2, 1.9, 6, at::kDouble);
    const auto showers = [&](c10::Device device, device::Precision precision) {
      shower_simulation::ShowerSource source(
          models::ShowerGenerator(models::ShowerGeneratorOptions{.variant = variant}),
          {.device = device, .precision = precision, .seed = 3});
      return source.make(numbers, energy, theta);
    };
    const at::Tensor expected = showers(c10::kCPU, device::Precision::float32);
    const at::Tensor found = showers(device_, device::Precision::float32);
    EXPECT_TRUE(found.device().is_cpu());
    EXPECT_GT(expected.max().item<float>(), 0);
    EXPECT_LT(nn::relative_difference(found, expected), 1e-4);
    EXPECT_LT(nn::relative_difference(showers(device_, device::Precision::bfloat16), expected), 0.1);
    EXPECT_LT(nn::relative_difference(showers(device_, device::Precision::float16), expected), 0.02);
  }
}

}  // namespace
}  // namespace bunchtrain::test
