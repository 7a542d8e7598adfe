// SPDX-License-Identifier: Apache-2.0
// A rank may have no samples: every layer takes a batch of none, forward and backward.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/dropout.hpp"
#include "bunchtrain/nn/edge_conv.hpp"
#include "bunchtrain/nn/linear.hpp"
#include "bunchtrain/nn/masked_mean.hpp"

namespace bunchtrain::nn {
namespace {

class EmptyBatchTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor input(std::vector<std::int64_t> shape) const {
    shape.insert(shape.begin(), 0);
    return at::empty(shape, GetParam()).requires_grad_();
  }
  /// Runs backward from an output without samples: all gradients are there, and zero.
  static void expect_zero_gradients(const at::Tensor& input, const at::Tensor& output,
                                    torch::nn::Module* layer) {
    EXPECT_EQ(output.size(0), 0);
    output.sum().backward();
    ASSERT_TRUE(input.grad().defined());
    EXPECT_EQ(input.grad().sizes(), input.sizes());
    if (!layer) return;
    for (const auto& parameter : layer->named_parameters()) {
      ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
      EXPECT_EQ(parameter.value().grad().abs().max().item<double>(), 0) << parameter.key();
    }
    for (const auto& buffer : layer->buffers()) EXPECT_TRUE(buffer.isfinite().all().item<bool>());
  }
  template <class Layer>
  Layer prepared(Layer layer) const {
    layer->to(GetParam());
    return layer;
  }
};

TEST_P(EmptyBatchTest, Linear) {
  auto layer = prepared(Linear(LinearOptions{.in = 3, .out = 2}));
  const at::Tensor x = input({3});
  expect_zero_gradients(x, layer->forward(x), layer.get());
}

TEST_P(EmptyBatchTest, BatchNormWithAndWithoutMask) {
  for (const bool masked : {false, true}) {
    BatchNorm layer(BatchNormOptions{.channels = 3});
    const at::Tensor x = input({4, 3});
    const auto mask = masked ? std::optional(at::empty({0, 4}, at::kBool)) : std::nullopt;
    expect_zero_gradients(x, layer->forward(x, mask, true), layer.get());
    EXPECT_TRUE(layer->running_mean.eq(0).all().item<bool>()) << "no row counts, so the statistics stay";
    EXPECT_TRUE(layer->running_var.eq(1).all().item<bool>());
  }
}

TEST_P(EmptyBatchTest, Dropout) {
  Dropout layer(DropoutOptions{.probability = 0.5});
  const at::Tensor x = input({3});
  expect_zero_gradients(x, layer->forward(x), nullptr);
}

TEST_P(EmptyBatchTest, MaskedMean) {
  const at::Tensor x = input({4, 3});
  expect_zero_gradients(x, masked_mean(x, at::empty({0, 4}, at::kBool)), nullptr);
}

TEST_P(EmptyBatchTest, Conv3dWithAndWithoutUpsampling) {
  for (const std::int64_t repeat : {1, 2}) {
    auto layer = prepared(Conv3d(Conv3dOptions{
        .in_channels = 2, .out_channels = 3, .kernel = {2, 2, 2}, .upsampling = {repeat, repeat, repeat}}));
    const at::Tensor x = input({4, 4, 4, 2});
    expect_zero_gradients(x, layer->forward(x), layer.get());
  }
}

/// bfloat16 modules take the operations that GPUs take.
TEST_P(EmptyBatchTest, EdgeConv) {
  for (const bool recompute : {false, true})
    for (const bool counted : {false, true})
      for (const bool zeroed : {false, true}) {
        auto layer = prepared(
            EdgeConvBlock(EdgeConvOptions{.in_channels = 3, .channels = {4, 5, 4}, .recompute = recompute}));
        const at::Tensor x = input({6, 3});
        const Padding padding{.mask = at::empty({0, 6}, at::kBool), .zeroed = zeroed, .counted = counted};
        expect_zero_gradients(x, layer->forward(x, at::empty({0, 6, 2}, at::kInt), padding), layer.get());
      }
}

INSTANTIATE_TEST_SUITE_P(Types, EmptyBatchTest, testing::Values(at::kDouble, at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace bunchtrain::nn
