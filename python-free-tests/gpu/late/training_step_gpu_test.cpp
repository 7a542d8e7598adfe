// SPDX-License-Identifier: Apache-2.0
// Training steps of ParticleNet and 3DGAN under the Trainer never make the host wait for the GPU.
#include <ATen/ops/arange.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/rand_like.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "bunchtrain/data/memory_dataset.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan_step.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "gpu/nn/no_synchronisation.hpp"

namespace bunchtrain::shower_simulation {
namespace {

using models::ShowerVariant;

/// Waiting is an error between the ends of two steps; the first steps load libraries and kernels.
class NoWaiting : public train::Callback {
 public:
  void on_step(const train::StepEvent& event) override {
    if (event.step == kFirst) guard_.emplace();
    if (event.step == kLast) guard_.reset();
    EXPECT_TRUE(std::isfinite(event.loss)) << "step " << event.step;
    last_ = event;
  }
  const train::StepEvent& last() const noexcept { return last_; }

 private:
  static constexpr std::int64_t kFirst = 3, kLast = 8;
  std::optional<test::NoSynchronisation> guard_;
  train::StepEvent last_;
};

class TrainingStepGpuTest : public testing::TestWithParam<const char*> {
 protected:
  static constexpr std::int64_t kSteps = 10;

  void SetUp() override { std::filesystem::remove_all(root_); }
  void TearDown() override {
    session_.close();
    std::filesystem::remove_all(root_);
  }
  c10::Device gpu() const { return session_.device(); }

  const std::filesystem::path root_ = std::filesystem::path(testing::TempDir()) / "training_step_gpu";
  train::Session session_{
      {.device = device::DeviceRequest::cuda, .precision = device::parse_precision(GetParam()), .run = root_},
      mpi::Comm::self(),
      {}};
};

data::DatasetPtr random_jets(std::int64_t count) {
  constexpr std::int64_t kSlots = 32;
  NamedTensors jets;
  jets.set("points", at::randn({count, kSlots, 2}));
  jets.set("features", at::randn({count, kSlots, 7}));
  jets.set("mask",
           at::arange(kSlots).unsqueeze(0).lt(at::arange(count).remainder(kSlots).add(1).unsqueeze(1)));
  jets.set("label", at::arange(count).remainder(2));
  return data::make_memory_dataset(std::move(jets));
}

TEST_P(TrainingStepGpuTest, OfParticleNet) {
  constexpr std::int64_t kBatch = 16;
  models::ParticleNet model({.dropout = 0.1, .batch_norm_rows = models::BatchNormRows::real});
  parallel::DataParallel parallel(model, session_.world(), {.device = gpu()});
  optim::AdamW optimizer(parallel, {.learning_rate = 1e-4});
  train::Trainer trainer(session_, parallel, optimizer, train::classification(),
                         {.epochs = 1, .batch = kBatch, .clip_norm = 1, .accumulate = 2});
  const auto watch = std::make_shared<NoWaiting>();
  trainer.add_callback(watch);
  EXPECT_EQ(trainer.fit(random_jets(kSteps * kBatch), nullptr).steps, kSteps);
  EXPECT_GT(watch->last().gradient_norm, 0);
}

data::DatasetPtr random_showers(ShowerVariant variant, std::int64_t count) {
  const auto [x, y, z] = models::shower_shape(variant);
  const at::Tensor image = at::rand({count, x, y, z});
  NamedTensors showers;
  showers.set("image", image.mul(at::rand_like(image).lt(0.2)));
  showers.set("energy", at::rand({count}).mul(90).add(10));
  showers.set("sum", showers["image"].sum({1, 2, 3}));
  showers.set("theta", at::rand({count}).add(1.1));
  showers.set("measured_theta", showers["theta"]);
  return data::make_memory_dataset(std::move(showers));
}

void train_3dgan(train::Session& session, ShowerVariant variant, std::int64_t steps) {
  constexpr std::int64_t kBatch = 2;
  models::ShowerGenerator generator(models::ShowerGeneratorOptions{.variant = variant});
  models::ShowerDiscriminator discriminator(models::ShowerDiscriminatorOptions{
      .variant = variant, .bin_counts = variant == ShowerVariant::variable_angle});
  parallel::DataParallel g(generator, session.world(), {.device = session.device()});
  parallel::DataParallel d(discriminator, session.world(), {.device = session.device()});
  optim::Rmsprop g_optimizer(g, {.learning_rate = 1e-5}), d_optimizer(d, {.learning_rate = 1e-5});
  ShowerGanStep step(
      {generator, &g, &g_optimizer}, {discriminator, &d, &d_optimizer},
      {.weights = models::ShowerLossWeights::published(variant), .response = EnergyResponse::published()});
  train::Trainer trainer(session, {{"generator", &g, &g_optimizer}, {"discriminator", &d, &d_optimizer}},
                         step, nullptr, {.epochs = 1, .batch = kBatch});
  const auto watch = std::make_shared<NoWaiting>();
  trainer.add_callback(watch);
  EXPECT_EQ(trainer.fit(random_showers(variant, steps * kBatch), nullptr).steps, steps);
  EXPECT_GE(watch->last().terms.size(), 3 * 3U);
}

TEST_P(TrainingStepGpuTest, OfFixedAngle3dgan) { train_3dgan(session_, ShowerVariant::fixed_angle, kSteps); }

TEST_P(TrainingStepGpuTest, OfVariableAngle3dgan) {
  train_3dgan(session_, ShowerVariant::variable_angle, kSteps);
}

INSTANTIATE_TEST_SUITE_P(Precisions, TrainingStepGpuTest, testing::Values("float32", "bfloat16", "float16"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace bunchtrain::shower_simulation
