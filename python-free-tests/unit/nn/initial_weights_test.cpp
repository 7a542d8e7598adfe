// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/initial_weights.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

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

}  // namespace
}  // namespace bunchtrain::nn
