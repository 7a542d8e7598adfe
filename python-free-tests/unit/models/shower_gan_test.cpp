// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/models/3dgan/discriminator.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/nn/keyed_random.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/ops/shower_observables.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::models {
namespace {

using testing::HasSubstr;

/// Numbers that training changes, and those that only passes do.
struct Count {
  std::int64_t trainable;
  std::int64_t with_statistics;
};

Count count(const torch::nn::Module& module) {
  Count numbers{};
  for (const at::Tensor& parameter : module.parameters()) numbers.trainable += parameter.numel();
  numbers.with_statistics = numbers.trainable;
  for (const auto& item : module.named_buffers())
    if (item.key().find("running_") != std::string::npos) numbers.with_statistics += item.value().numel();
  return numbers;
}

at::Tensor noise(std::int64_t showers, std::int64_t columns, std::uint64_t seed = 3) {
  return nn::keyed_normal(nn::StepContext(seed, 0, at::ones({showers}).cumsum(0).to(at::kLong)), 1, columns);
}

std::vector<std::int64_t> image_sizes(ShowerVariant variant, std::int64_t showers) {
  const auto [x, y, z] = shower_shape(variant);
  return {showers, x, y, z};
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ShowerVariantTest, HasTheNamesOfTheOption) {
  EXPECT_EQ(parse_shower_variant("fixed"), ShowerVariant::fixed_angle);
  EXPECT_EQ(parse_shower_variant("angle"), ShowerVariant::variable_angle);
  EXPECT_THAT(message_of([] { parse_shower_variant("51"); }), HasSubstr("'angle' (51x51x25 cells)"));
}

class ShowerGanTest : public testing::TestWithParam<ShowerVariant> {
 protected:
  bool fixed() const { return GetParam() == ShowerVariant::fixed_angle; }
  at::Tensor latent(std::int64_t showers) const {
    return make_latent(GetParam(), noise(showers, noise_size(GetParam())), at::full({showers}, 50.0),
                       at::full({showers}, 1.5));
  }
  ShowerGenerator generator_ = ShowerGenerator(ShowerGeneratorOptions{.variant = GetParam()});
  ShowerDiscriminator discriminator_ = ShowerDiscriminator(
      ShowerDiscriminatorOptions{.variant = GetParam(), .bin_counts = true, .bin_count_smoothing = 0.1});
};

TEST_P(ShowerGanTest, HasThePublishedNumberOfParameters) {
  const Count generator = count(*generator_), discriminator = count(*discriminator_);
  EXPECT_EQ(generator.trainable, fixed() ? 872808 : 1364983);
  EXPECT_EQ(generator.with_statistics, fixed() ? 872948 : 1365047);
  EXPECT_EQ(discriminator.trainable, fixed() ? 73402 : 87354);
  EXPECT_EQ(discriminator.with_statistics, fixed() ? 73450 : 87402);
}

TEST_P(ShowerGanTest, PassesShowersThroughBothNetworks) {
  const at::Tensor image = generator_->forward(latent(2));
  EXPECT_EQ(image.sizes(), at::IntArrayRef(image_sizes(GetParam(), 2)));
  EXPECT_GE(image.min().item<float>(), 0);
  EXPECT_GT(image.max().item<float>(), 0);
  const ShowerJudgement judgement = discriminator_->forward(image);
  for (const at::Tensor& part : {judgement.logit, judgement.energy, judgement.sum})
    EXPECT_EQ(part.sizes(), at::IntArrayRef({2}));
  EXPECT_EQ(judgement.angle.defined(), !fixed());
  EXPECT_EQ(judgement.counts.sizes(), at::IntArrayRef({2, ops::kEnergyBins}));
}

TEST_P(ShowerGanTest, EveryParameterOfBothGetsAGradient) {
  const ShowerJudgement judgement = discriminator_->forward(generator_->forward(latent(2)));
  (judgement.logit.sum() + judgement.energy.sum() + judgement.counts.square().mean()).backward();
  for (torch::nn::Module* network : {static_cast<torch::nn::Module*>(generator_.get()),
                                     static_cast<torch::nn::Module*>(discriminator_.get())}) {
    for (const auto& item : network->named_parameters()) {
      ASSERT_TRUE(item.value().grad().defined()) << item.key();
      EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
    }
  }
}

TEST_P(ShowerGanTest, EmptyShowersAmongOthersLeaveEverythingFinite) {
  at::Tensor image = generator_->forward(latent(3)).detach().clone();
  image[0].zero_();
  image[2].zero_();
  image.requires_grad_();
  const ShowerJudgement judgement = discriminator_->forward(image);
  at::Tensor sum =
      judgement.logit.sum() + judgement.energy.sum() + judgement.sum.sum() + judgement.counts.sum();
  if (!fixed()) {
    EXPECT_EQ(judgement.angle[0].item<float>(), 100);
    sum = sum + judgement.angle.sum();
  }
  sum.backward();
  EXPECT_TRUE(image.grad().isfinite().all().item<bool>());
  for (const auto& item : discriminator_->named_parameters())
    EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
}

TEST_P(ShowerGanTest, AutocastKeepsImagesAndJudgementInFloat32) {
  for (const auto precision : {device::Precision::bfloat16, device::Precision::float16}) {
    const device::PrecisionGuard guard(precision, at::kCPU);
    const at::Tensor image = generator_->forward(latent(2));
    const ShowerJudgement judgement = discriminator_->forward(image);
    EXPECT_EQ(image.scalar_type(), at::kFloat);
    EXPECT_EQ(judgement.logit.scalar_type(), at::kFloat);
    EXPECT_EQ(judgement.energy.scalar_type(), at::kFloat);
    const double power = image_power(GetParam());
    EXPECT_TRUE(judgement.sum.equal(ops::ecal_sum(image, power)));
    (judgement.logit.sum() + judgement.energy.sum()).backward();
    for (const auto& item : generator_->named_parameters())
      EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
  }
}

TEST_P(ShowerGanTest, SeedsAndNetworksHaveWeightsOfTheirOwn) {
  const ShowerGenerator same(ShowerGeneratorOptions{.variant = GetParam()});
  const ShowerGenerator other(ShowerGeneratorOptions{.variant = GetParam(), .seed = 2});
  const NamedTensors state = weights::named_state(*generator_);
  EXPECT_TRUE(state["conv2.weight"].equal(weights::named_state(*same)["conv2.weight"]));
  EXPECT_FALSE(state["conv2.weight"].equal(weights::named_state(*other)["conv2.weight"]));
  EXPECT_EQ(state["conv2.bias"].abs().max().item<float>(), 0);
  // he_uniform: U(-a, a), a = sqrt(6 / fan in); the variance is a^2 / 3.
  const at::Tensor& weight = state["conv1.weight"];
  const double fan_in = static_cast<double>(weight.numel() / weight.size(0));
  EXPECT_NEAR(weight.var().item<double>(), 2 / fan_in, 0.05 * 2 / fan_in);
}

TEST_P(ShowerGanTest, TakesAnEmptyBatchInInference) {
  generator_->eval();
  discriminator_->eval();
  const at::Tensor image = generator_->forward(latent(0));
  EXPECT_EQ(image.sizes(), at::IntArrayRef(image_sizes(GetParam(), 0)));
  EXPECT_EQ(discriminator_->forward(image).logit.sizes(), at::IntArrayRef({0}));
}

TEST_P(ShowerGanTest, SaysWhichShapesItExpects) {
  const auto other = fixed() ? ShowerVariant::variable_angle : ShowerVariant::fixed_angle;
  const std::string cells = fixed() ? "[B, 25, 25, 25]" : "[B, 51, 51, 25]";
  EXPECT_THAT(message_of([&] { discriminator_->forward(at::zeros(image_sizes(other, 1))); }),
              HasSubstr(cells));
  EXPECT_THAT(message_of([&] { discriminator_->forward(at::Tensor()); }), HasSubstr("undefined"));
  EXPECT_THAT(message_of([&] {
                generator_->forward(at::zeros({2, 100}));
              }),
              HasSubstr(fixed() ? "[B, 200]; they are [2, 100]" : "[B, 256]; they are [2, 100]"));
}

INSTANTIATE_TEST_SUITE_P(Published, ShowerGanTest,
                         testing::Values(ShowerVariant::fixed_angle, ShowerVariant::variable_angle),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST(MakeLatentTest, MultipliesOrPrepends) {
  const at::Tensor energy = at::full({2}, 30.0), theta = at::full({2}, 1.2);
  const at::Tensor fixed = noise(2, 200), angle = noise(2, 254);
  EXPECT_TRUE(make_latent(ShowerVariant::fixed_angle, fixed, energy).allclose(fixed * 0.3));
  const at::Tensor latent = make_latent(ShowerVariant::variable_angle, angle, energy, theta);
  EXPECT_TRUE(latent.select(1, 0).allclose(energy / 100));
  EXPECT_TRUE(latent.select(1, 1).allclose(theta));
  EXPECT_TRUE(latent.slice(1, 2).equal(angle));
}

TEST(MakeLatentTest, SaysWhatIsMissing) {
  const at::Tensor energy = at::full({2}, 30.0);
  EXPECT_THAT(message_of([&] { make_latent(ShowerVariant::fixed_angle, noise(2, 254), energy); }),
              HasSubstr("noise [B, 200]"));
  EXPECT_THAT(message_of([&] { make_latent(ShowerVariant::fixed_angle, noise(3, 200), energy); }),
              HasSubstr("[3, 200] and [2]"));
  EXPECT_THAT(message_of([&] { make_latent(ShowerVariant::variable_angle, noise(2, 254), energy); }),
              HasSubstr("an angle for each energy"));
}

TEST(ToGevTest, UndoesPowerAndScale) {
  const at::Tensor gev = noise(2, 5).abs();
  EXPECT_TRUE(to_gev(ShowerVariant::fixed_angle, gev).equal(gev));
  EXPECT_TRUE(to_gev(ShowerVariant::variable_angle, (gev * 50).pow(0.85)).allclose(gev));
}

}  // namespace
}  // namespace bunchtrain::models
