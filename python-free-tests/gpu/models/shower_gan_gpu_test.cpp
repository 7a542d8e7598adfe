// SPDX-License-Identifier: Apache-2.0 3DGAN on a GPU in every precision against float64 on the CPU: forward,
// gradients, three updates of both networks together.
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <gtest/gtest.h>

#include <map>

#include "bunchtrain/models/3dgan/discriminator.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/models/3dgan/losses.hpp"
#include "gpu/device_under_test.hpp"
#include "trial.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::test {
namespace {

using models::ShowerVariant;

constexpr std::int64_t kShowers = 2;

struct GanImpl : torch::nn::Module {
  explicit GanImpl(ShowerVariant variant)
      : generator(models::ShowerGeneratorOptions{.variant = variant}),
        discriminator(models::ShowerDiscriminatorOptions{.variant = variant}) {
    register_module("generator", generator.ptr());
    register_module("discriminator", discriminator.ptr());
  }
  models::ShowerGenerator generator;
  models::ShowerDiscriminator discriminator;
};

/// Latent vectors and images that a variant of 3DGAN might see, and what the discriminator should say.
struct Showers {
  at::Tensor latent, image;
  models::ShowerTargets targets;
  Showers(ShowerVariant variant, c10::Device device, at::ScalarType type) {
    const auto [x, y, z] = models::shower_shape(variant);
    const at::Tensor energy = at::linspace(20, 90, kShowers, at::kDouble);
    const at::Tensor theta = at::linspace(1.2, 1.9, kShowers, at::kDouble);
    const auto put = [&](const at::Tensor& tensor) { return tensor.to(type).to(device); };
    latent = put(models::make_latent(variant, nn::random_normal({kShowers, models::noise_size(variant)}, 1),
                                     energy, theta));
    const at::Tensor cells = nn::random_normal({kShowers, x, y, z}, 2).sub(0.8).clamp_min(0);
    image = put(cells);
    targets = {.real = put(at::full({kShowers}, 1.0, at::kDouble)),
               .energy = put(energy / models::kEnergyUnit),
               .angle = variant == ShowerVariant::variable_angle ? put(theta) : at::Tensor(),
               .sum = put(cells.sum({1, 2, 3}) * 3)};
  }
};

Trial run(ShowerVariant variant, c10::Device device, at::ScalarType type, const Numerics& numerics) {
  const Showers showers(variant, device, type);
  const auto gan = std::make_shared<GanImpl>(variant);
  gan->to(device, type);
  const auto weights = models::ShowerLossWeights::published(variant);
  // Small enough that three updates are about the sum of three gradients: larger steps magnify what a
  // precision costs, more so where the loss is steeper.
  const double rate = variant == models::ShowerVariant::fixed_angle ? 1e-6 : 1e-7;
  return run_trial(gan, device, numerics, {.learning_rate = rate, .samples = kShowers}, [&] {
    const at::Tensor fake = gan->generator->forward(showers.latent);
    const auto of_fake = gan->discriminator->forward(fake),
               of_real = gan->discriminator->forward(showers.image);
    const at::Tensor loss = models::shower_losses(of_fake, showers.targets, weights).total +
                            models::shower_losses(of_real, showers.targets, weights).total;
    return PassResult{at::cat({fake.to(type).flatten(), of_fake.logit, of_real.logit, of_real.energy}), loss};
  });
}

/// Kinks of the losses and of batch norm over two showers amplify, and every step what the one before has
/// left. On a CPU: float32 1e-6, 2e-3, 9e-3; bfloat16 6e-3, 0.14, 0.17; float16 7e-4, 0.04, 0.04.
constexpr Numerics kNumerics[] = {
    {"float32", device::Precision::float32, 1e-4, 1e-2, 5e-2},
    {"tf32", device::Precision::tf32, 1e-2, 0.15, 0.2},
    {"bfloat16", device::Precision::bfloat16, 3e-2, 0.4, 0.5},
    {"float16", device::Precision::float16, 1e-2, 0.15, 0.2},
};

class ShowerGanGpuTest : public testing::TestWithParam<std::tuple<ShowerVariant, Numerics>> {};

TEST_P(ShowerGanGpuTest, TrainsAsFloat64OnTheCpuDoes) {
  const auto [variant, numerics] = GetParam();
  const c10::Device device = device_under_test();
  if (!runs_on(numerics, device)) return;
  static std::map<ShowerVariant, Trial> references;
  if (!references.contains(variant))
    references[variant] = run(variant, c10::kCPU, at::kDouble, {"float64", device::Precision::float64});
  expect_close(run(variant, device, at::kFloat, numerics), references[variant], numerics);
}

INSTANTIATE_TEST_SUITE_P(Precisions, ShowerGanGpuTest,
                         testing::Combine(testing::Values(ShowerVariant::fixed_angle,
                                                          ShowerVariant::variable_angle),
                                          testing::ValuesIn(kNumerics)),
                         [](const auto& info) {
                           return std::string(models::to_string(std::get<0>(info.param))) + "_" +
                                  std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace bunchtrain::test
