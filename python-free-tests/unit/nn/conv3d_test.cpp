// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/conv3d.hpp"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/frozen_parameters.hpp"
#include "bunchtrain/nn/transposed_conv3d.hpp"
#include "random_tensors.hpp"

namespace bunchtrain::nn {
namespace {

/// The second layer of the 25^3 generator, on a smaller image.
const Conv3dOptions kLayer = {.in_channels = 4,
                              .out_channels = 6,
                              .kernel = {6, 5, 8},
                              .padding = ops::Padding3::symmetric({2, 2, 0}),
                              .upsampling = {2, 2, 2}};

Conv3d make_layer(const Conv3dOptions& options) {
  Conv3d layer(options);
  const at::NoGradGuard no_grad;
  layer->weight.copy_(random_normal(layer->weight.sizes(), 1));
  if (layer->bias.defined()) layer->bias.copy_(random_normal(layer->bias.sizes(), 2));
  return layer;
}

TEST(Conv3dTest, IsTheOperationWithItsParameters) {
  Conv3d layer = make_layer(kLayer);
  const at::Tensor image = random_normal({2, 3, 4, 5, 4}, 3, at::kFloat);
  EXPECT_TRUE(at::equal(layer->forward(image),
                        ops::upsampled_conv3d(image, layer->weight, layer->bias, {2, 2, 2}, kLayer.padding)));
  EXPECT_EQ(layer->forward(image).sizes(), (std::vector<std::int64_t>{2, 5, 8, 3, 6}));

  Conv3dOptions plain = kLayer;
  plain.upsampling = {1, 1, 1};
  plain.kernel = {2, 2, 2};
  plain.bias = false;
  Conv3d small = make_layer(plain);
  EXPECT_EQ(small->named_parameters().keys(), std::vector<std::string>{"weight"});
  EXPECT_TRUE(at::equal(small->forward(image), ops::conv3d(image, small->weight, {}, plain.padding)));
}

TEST(Conv3dTest, ParametersKeepThePublishedForm) {
  Conv3d layer = make_layer(kLayer);
  const auto parameters = layer->named_parameters();
  EXPECT_EQ(parameters["weight"].sizes(), (std::vector<std::int64_t>{6, 4, 6, 5, 8}));
  EXPECT_EQ(parameters["bias"].sizes(), std::vector<std::int64_t>{6});
  layer->forward(random_normal({1, 3, 4, 5, 4}, 3, at::kFloat)).sum().backward();
  EXPECT_EQ(layer->weight.grad().sizes(), layer->weight.sizes());
}

TEST(Conv3dTest, KernelsKeptWithoutGradientsFollowTheWeight) {
  Conv3d layer = make_layer(kLayer);
  const at::Tensor image = random_normal({1, 3, 4, 5, 4}, 3, at::kFloat);
  const auto expected = [&] {
    return ops::upsampled_conv3d(image, layer->weight, layer->bias, {2, 2, 2}, kLayer.padding);
  };
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(layer->forward(image), expected()));
  EXPECT_TRUE(at::equal(layer->forward(image), expected()));  // from kept kernels
  layer->weight.mul_(2);
  EXPECT_TRUE(at::equal(layer->forward(image), expected()));
  layer->to(at::kDouble);
  EXPECT_EQ(layer->forward(image.to(at::kDouble)).scalar_type(), at::kDouble);
}

TEST(Conv3dTest, RefusesWhatCannotBe) {
  EXPECT_THROW(Conv3d(Conv3dOptions{.in_channels = 0}), ConfigError);
  EXPECT_THROW(Conv3d(Conv3dOptions{.out_channels = -1}), ConfigError);
  EXPECT_THROW(Conv3d(Conv3dOptions{.kernel = {1, 0, 1}}), ConfigError);
  EXPECT_THROW(Conv3d(Conv3dOptions{.stride = {1, 0, 1}}), ConfigError);
  EXPECT_THROW(Conv3d(Conv3dOptions{.upsampling = {2, 1, 1}, .dilation = {1, 2, 1}}), ConfigError);
}

TEST(TransposedConv3dTest, RefusesWhatCannotBe) {
  EXPECT_THROW(TransposedConv3d(TransposedConv3dOptions{.in_channels = 0}), ConfigError);
  EXPECT_THROW(TransposedConv3d(TransposedConv3dOptions{.kernel = {2, 1, 2}}), ConfigError);
  EXPECT_THROW(TransposedConv3d(TransposedConv3dOptions{.stride = {0, 2, 2}}), ConfigError);
}

TEST(FrozenParametersTest, GradientsPassThroughButAreNotKept) {
  Conv3d layer = make_layer(kLayer);
  layer->bias.set_requires_grad(false);
  at::Tensor image = random_normal({1, 3, 4, 5, 4}, 3, at::kFloat).requires_grad_(true);
  at::Tensor out;
  {
    const FrozenParameters frozen(*layer);
    EXPECT_FALSE(layer->weight.requires_grad());
    out = layer->forward(image);
  }
  EXPECT_TRUE(layer->weight.requires_grad());
  EXPECT_FALSE(layer->bias.requires_grad()) << "it was off before";
  out.sum().backward();
  EXPECT_TRUE(image.grad().defined());
  EXPECT_FALSE(layer->weight.grad().defined()) << "the graph was built while they were frozen";
}

}  // namespace
}  // namespace bunchtrain::nn
