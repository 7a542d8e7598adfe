// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/initial_weights.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/linear.hpp"

namespace bunchtrain::nn {
namespace {

/// A linear layer of 400 inputs and a batch norm; `order` changes which is registered first.
struct Pair : torch::nn::Module {
  explicit Pair(bool norm_first) {
    if (norm_first) norm = register_module("norm", BatchNorm(BatchNormOptions{.channels = 3}));
    linear = register_module("linear", Linear(LinearOptions{.in = 400, .out = 50}));
    if (!norm_first) norm = register_module("norm", BatchNorm(BatchNormOptions{.channels = 3}));
  }
  Linear linear{nullptr};
  BatchNorm norm{nullptr};
};

TEST(InitialWeightsTest, UniformWithTheBoundOfPyTorch) {
  Pair pair(false);
  fill_default_weights(pair, 1);
  const double bound = 1 / std::sqrt(400.0);
  for (const at::Tensor& tensor : {pair.linear->weight, pair.linear->bias}) {
    EXPECT_LE(tensor.abs().max().item<double>(), bound);
    EXPECT_GT(tensor.abs().max().item<double>(), 0.9 * bound);
  }
  EXPECT_NEAR(pair.linear->weight.mean().item<double>(), 0, 0.03 * bound);
  EXPECT_TRUE(at::equal(pair.norm->weight.detach(), at::ones({3})));
  EXPECT_TRUE(at::equal(pair.norm->bias.detach(), at::zeros({3})));
}

TEST(InitialWeightsTest, NamesDecideNotTheOrder) {
  Pair first(false), second(true), other(false);
  fill_default_weights(first, 1);
  fill_default_weights(second, 1);
  fill_default_weights(other, 2);
  EXPECT_TRUE(at::equal(first.linear->weight, second.linear->weight));
  EXPECT_FALSE(at::equal(first.linear->weight, other.linear->weight));
}

/// A convolution of 8 to 24 channels and 3 x 2 x 5 cells: 240 inputs, 720 outputs.
at::Tensor filled(KerasInitializer initializer, std::string_view name = "conv", std::uint64_t seed = 1) {
  at::Tensor weight = at::zeros({24, 8, 3, 2, 5}).requires_grad_(true);
  fill(weight, initializer, name, seed);
  return weight.detach().to(at::kDouble);
}

void expect_moments(const at::Tensor& weight, double variance, double bound) {
  EXPECT_NEAR(weight.mean().item<double>(), 0, 0.05 * std::sqrt(variance));  // one sigma is 0.013
  EXPECT_NEAR(weight.square().mean().item<double>() / variance, 1, 0.05);
  EXPECT_LE(weight.abs().max().item<double>(), bound);
  EXPECT_GT(weight.abs().max().item<double>(), 0.98 * bound);
}

TEST(KerasInitializerTest, MomentsAndRanges) {
  expect_moments(filled(KerasInitializer::glorot_uniform), 2.0 / (240 + 720), std::sqrt(6.0 / (240 + 720)));
  expect_moments(filled(KerasInitializer::he_uniform), 2.0 / 240, std::sqrt(6.0 / 240));
  const double variance = 2.0 / (240 + 720);
  const at::Tensor normal = filled(KerasInitializer::glorot_normal);
  expect_moments(normal, variance, 2 * std::sqrt(variance) / 0.87962566103423978);
  // Of a normal distribution cut at two deviations, 0.6827 / 0.9545 lies within one.
  const double deviation = std::sqrt(variance) / 0.87962566103423978;
  EXPECT_NEAR(normal.abs().lt(deviation).to(at::kDouble).mean().item<double>(), 0.7152, 0.02);
}

TEST(KerasInitializerTest, LinearWeightsCountTheirRowsAndColumns) {
  at::Tensor weight = at::zeros({300, 100});
  fill(weight, KerasInitializer::glorot_uniform, "dense", 1);
  expect_moments(weight.to(at::kDouble), 2.0 / 400, std::sqrt(6.0 / 400));
}

TEST(KerasInitializerTest, NameAndSeedDecide) {
  const at::Tensor weight = filled(KerasInitializer::he_uniform);
  EXPECT_TRUE(at::equal(weight, filled(KerasInitializer::he_uniform)));
  EXPECT_FALSE(at::equal(weight, filled(KerasInitializer::he_uniform, "other")));
  EXPECT_FALSE(at::equal(weight, filled(KerasInitializer::he_uniform, "conv", 2)));
}

TEST(KerasInitializerTest, RefusesVectors) {
  at::Tensor bias = at::zeros({3});
  EXPECT_THROW(fill(bias, KerasInitializer::he_uniform, "bias", 1), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::nn
