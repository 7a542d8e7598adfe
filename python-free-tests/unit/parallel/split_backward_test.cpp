// SPDX-License-Identifier: Apache-2.0
/// Gradients of inputs first, those of weights later: the same as in one pass, whatever uses the weights.
#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <vector>

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "bunchtrain/nn/linear.hpp"
#include "bunchtrain/ops/linear.hpp"
#include "pipeline/stage.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::parallel {
namespace {

/// What a unit of several layers may look like.
enum class Use {
  once,
  twice,
  by_another_layer_too,
  off_the_path,
  one_copy_twice,
  one_copy_off_the_path,
  upsampled
};

struct LayersImpl : torch::nn::Module {
  explicit LayersImpl(Use of_weights) : use(of_weights) {
    const std::int64_t cells_up = use == Use::upsampled ? 2 : 1;
    first = register_module("first", nn::Conv3d(nn::Conv3dOptions{.in_channels = 3,
                                                                  .out_channels = 4,
                                                                  .kernel = {3, 3, 2},
                                                                  .padding = {{1, 1, 1}, {1, 1, 0}},
                                                                  .upsampling = {cells_up, 1, 1}}));
    second = register_module("second", nn::Linear(nn::LinearOptions{.in = 4, .out = 4}));
    nn::fill_default_weights(*this, 7);
    to(at::kDouble);
  }

  at::Tensor forward(const at::Tensor& x) {
    at::Tensor h = second->forward(at::silu(first->forward(x)));
    if (use == Use::twice) h = second->forward(at::silu(h));
    if (use == Use::by_another_layer_too) h = at::linear(at::silu(h), second->weight);
    if (use == Use::off_the_path) h = h + second->forward(at::ones_like(h));  // no input stands behind it
    if (use == Use::one_copy_twice || use == Use::one_copy_off_the_path) {
      const at::Tensor copy = second->weight * 2.0;
      h = ops::linear(at::silu(h), copy, second->bias) +
          ops::linear(use == Use::one_copy_twice ? h : at::ones_like(h), copy, second->bias);
    }
    return h;
  }

  Use use;
  nn::Conv3d first = nullptr;
  nn::Linear second = nullptr;
};
TORCH_MODULE(Layers);

class SplitBackwardTest : public testing::TestWithParam<Use> {
 protected:
  struct Pass {
    std::vector<at::Tensor> gradients = {};
    at::Tensor of_input = {};
  };

  /// Two units in a row, of two microbatches.
  Pass pass(bool split, at::ScalarType type = at::kDouble) const {
    Layers layers(GetParam());
    nn::Conv3d before(nn::Conv3dOptions{.in_channels = 2, .out_channels = 3});
    nn::fill_default_weights(*before, 5);
    before->to(type);
    layers->to(type);
    Stage stage({nn::unit("before", before, "x", "a"), nn::unit("layers", layers, "a", "y")}, split);
    Pass of;
    for (int microbatch = 0; microbatch < 2; ++microbatch) {
      StageValues entering;
      entering.set("x", nn::random_normal({2, 5, 4, 6, 2}, microbatch).to(type).requires_grad_());
      const at::Tensor y = stage.forward(microbatch, {}, entering).tensors["y"];
      stage.add_gradient(microbatch, "y", nn::random_normal(y.sizes(), 9).to(y.scalar_type()));
      split ? stage.input_gradient(microbatch) : stage.backward(microbatch);
      of.of_input = stage.take_gradient(microbatch, "x");
    }
    if (split)
      for (int microbatch = 0; microbatch < 2; ++microbatch) stage.weight_gradient(microbatch);
    for (const auto& module : std::vector<std::shared_ptr<torch::nn::Module>>{before.ptr(), layers.ptr()})
      for (const at::Tensor& parameter : module->parameters()) of.gradients.push_back(parameter.grad());
    return of;
  }
};

TEST_P(SplitBackwardTest, GivesTheGradientsOfOnePass) {
  const Pass whole = pass(false), split = pass(true);
  EXPECT_TRUE(split.of_input.allclose(whole.of_input, 1e-13, 1e-14));
  ASSERT_EQ(split.gradients.size(), whole.gradients.size());
  for (std::size_t i = 0; i < whole.gradients.size(); ++i)
    EXPECT_TRUE(split.gradients[i].allclose(whole.gradients[i], 1e-12, 1e-13)) << "parameter " << i;
}

TEST_P(SplitBackwardTest, GivesTheGradientsOfOnePassUnderAutocast) {
  const auto under_autocast = [this](bool split) {
    const device::PrecisionGuard autocast(device::Precision::bfloat16, at::kCPU);
    return pass(split, at::kFloat);
  };
  const Pass whole = under_autocast(false), split = under_autocast(true);
  ASSERT_EQ(split.gradients.size(), whole.gradients.size());
  for (std::size_t i = 0; i < whole.gradients.size(); ++i)
    EXPECT_LT((split.gradients[i] - whole.gradients[i]).norm().item<double>(),
              0.02 * whole.gradients[i].norm().item<double>())
        << "parameter " << i;
}

INSTANTIATE_TEST_SUITE_P(Uses, SplitBackwardTest,
                         testing::Values(Use::once, Use::twice, Use::by_another_layer_too, Use::off_the_path,
                                         Use::one_copy_twice, Use::one_copy_off_the_path, Use::upsampled));

class SplitBackwardOfOwnLayersTest : public testing::TestWithParam<device::Precision> {};

TEST_P(SplitBackwardOfOwnLayersTest, DoesNotComputeInnerGradientsTwice) {
  const device::PrecisionGuard precision(GetParam(), at::kCPU);
  Layers layers(Use::once);
  layers->to(at::kFloat);
  int differentiated = 0;
  const nn::Unit unit{.name = "layers",
                      .module = layers.ptr(),
                      .reads = {"x"},
                      .writes = {"y"},
                      .forward = [&](const std::vector<at::Tensor>& in) {
                        const at::Tensor h = at::silu(layers->first->forward(in[0]));
                        h.register_hook([&](const at::Tensor&) { ++differentiated; });
                        return std::vector<at::Tensor>{layers->second->forward(h)};
                      }};
  Stage stage({unit}, /*splits_backward=*/true);
  StageValues entering;
  entering.set("x", nn::random_normal({1, 4, 4, 4, 3}, 1).to(at::kFloat).requires_grad_());
  const at::Tensor y = stage.forward(0, {}, entering).tensors["y"];
  stage.add_gradient(0, "y", at::ones_like(y));
  stage.input_gradient(0);
  EXPECT_FALSE(layers->first->weight.grad().defined());
  stage.weight_gradient(0);
  EXPECT_EQ(differentiated, 1);
  EXPECT_TRUE(layers->first->weight.grad().defined());
  EXPECT_TRUE(layers->second->bias.grad().defined());
}

INSTANTIATE_TEST_SUITE_P(Precisions, SplitBackwardOfOwnLayersTest,
                         testing::Values(device::Precision::float32, device::Precision::bfloat16));

}  // namespace
}  // namespace bunchtrain::parallel
