// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/conv3d.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/repeat_interleave.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <ostream>

#include "bunchtrain/core/error.hpp"
#include "gradient_check.hpp"
#include "tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

using ops::Extent3;
using ops::Padding3;

struct Case {
  const char* name;
  Extent3 cells;
  std::int64_t in, out;
  Extent3 kernel;
  Padding3 padding = {};
  Extent3 factor = {1, 1, 1};
  bool bias = true;
  Extent3 stride = {1, 1, 1}, dilation = {1, 1, 1};
};

void PrintTo(const Case& c, std::ostream* stream) { *stream << c.name; }

Padding3 around(Extent3 cells) { return Padding3::symmetric(cells); }

/// The layers of both 3DGANs, with fewer cells along x, and what else could go wrong.
const Case kCases[] = {
    {"generator25_1", {4, 7, 8}, 8, 64, {6, 6, 8}, Padding3::same({6, 6, 8})},
    {"generator25_2", {4, 7, 8}, 9, 6, {6, 5, 8}, around({2, 2, 0}), {2, 2, 2}},
    {"generator25_3", {5, 13, 9}, 6, 6, {3, 3, 8}, around({1, 0, 3}), {2, 2, 3}},
    {"generator25_4", {4, 26, 26}, 6, 1, {2, 2, 2}, {}, {1, 1, 1}, false},
    {"generator51_1", {2, 2, 4}, 8, 8, {6, 6, 8}, {}, {6, 6, 6}},
    {"generator51_2", {5, 9, 11}, 8, 6, {4, 4, 6}, around({2, 2, 1})},
    {"generator51_5", {5, 9, 11}, 6, 6, {3, 3, 5}, around({1, 1, 0})},
    {"discriminator25_1", {6, 9, 25}, 1, 32, {5, 5, 5}, Padding3::same({5, 5, 5})},
    {"discriminator25_2", {6, 9, 25}, 12, 8, {5, 5, 5}, around({2, 2, 2})},
    {"discriminator25_4", {6, 9, 25}, 8, 8, {5, 5, 5}, around({1, 1, 1})},
    {"discriminator51_1", {6, 9, 25}, 1, 16, {5, 6, 6}, Padding3::same({5, 6, 6})},
    {"discriminator51_2", {6, 9, 25}, 16, 8, {5, 6, 6}, around({0, 0, 1})},
    {"even_number_of_outputs", {3, 4, 8}, 5, 8, {3, 3, 3}, around({1, 1, 1})},
    {"one_cell", {1, 1, 1}, 3, 2, {1, 1, 1}},
    {"kernel_of_all_cells", {3, 3, 3}, 2, 3, {3, 3, 3}},
    {"padding_beyond_the_kernel", {3, 3, 3}, 2, 3, {2, 2, 2}, {{3, 0, 2}, {1, 4, 3}}},
    {"one_to_one_channel", {4, 5, 6}, 1, 1, {2, 3, 4}, around({1, 1, 1})},
    {"uneven_upsampling", {3, 2, 4}, 2, 3, {3, 4, 2}, {{3, 0, 5}, {1, 2, 0}}, {3, 1, 4}},
    {"kernel_below_the_factor", {2, 3, 2}, 2, 1, {2, 1, 3}, {{0, 1, 0}, {0, 0, 2}}, {4, 3, 5}},
    {"upsampling_of_one_cell", {1, 1, 1}, 1, 2, {2, 2, 2}, {}, {2, 3, 2}},
    {"strides", {7, 6, 9}, 3, 4, {3, 2, 3}, around({1, 0, 1}), {1, 1, 1}, true, {2, 1, 4}},
    {"dilations", {8, 5, 9}, 2, 3, {3, 2, 3}, {{2, 0, 1}, {1, 1, 3}}, {1, 1, 1}, false, {1, 2, 1}, {2, 3, 1}},
};

/// What the operations promise, by upsampling, padding and LibTorch's convolution of channels-first images.
at::Tensor reference(const Case& c, const at::Tensor& input, const at::Tensor& weight,
                     const at::Tensor& bias) {
  at::Tensor x = input;
  for (int axis = 0; axis < 3; ++axis)
    x = at::repeat_interleave(x, c.factor[static_cast<std::size_t>(axis)], 1 + axis);
  const auto &before = c.padding.before, &after = c.padding.after;
  x = at::constant_pad_nd(x, {0, 0, before[2], after[2], before[1], after[1], before[0], after[0]});
  return at::conv3d(x.permute({0, 4, 1, 2, 3}).contiguous(), weight, bias, c.stride, Extent3{}, c.dilation)
      .permute({0, 2, 3, 4, 1});
}

at::Tensor ours(const Case& c, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  if (c.factor == Extent3{1, 1, 1}) return ops::conv3d(input, weight, bias, c.padding, c.stride, c.dilation);
  return ops::upsampled_conv3d(input, weight, bias, c.factor, c.padding);
}

/// Input, weight and, if the case has one, bias.
std::vector<at::Tensor> arguments(const Case& c, at::ScalarType type = at::kDouble) {
  std::vector<at::Tensor> all = {
      normal_tensor({2, c.cells[0], c.cells[1], c.cells[2], c.in}, 1, type),
      normal_tensor({c.out, c.in, c.kernel[0], c.kernel[1], c.kernel[2]}, 2, type)};
  if (c.bias) all.push_back(normal_tensor({c.out}, 3, type));
  for (at::Tensor& tensor : all) tensor.requires_grad_(true);
  return all;
}

double relative_difference(const at::Tensor& value, const at::Tensor& expected) {
  return (value.to(at::kDouble) - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

class Conv3dTest : public testing::TestWithParam<Case> {
 protected:
  /// Output and gradients against the reference in float64.
  static void compare(at::ScalarType type, double tolerance) {
    const Case& c = GetParam();
    const auto given = arguments(c, type), exact = arguments(c);
    const at::Tensor out = ours(c, given[0], given[1], c.bias ? given[2] : at::Tensor());
    const at::Tensor expected = reference(c, exact[0], exact[1], c.bias ? exact[2] : at::Tensor());
    ASSERT_EQ(out.sizes(), expected.sizes());
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_TRUE(out.is_contiguous());
    EXPECT_LT(relative_difference(out.detach(), expected.detach()), tolerance);

    const at::Tensor upstream = normal_tensor(out.sizes(), 4);
    const auto gradients = torch::autograd::grad({out}, {given.begin(), given.end()}, {upstream.to(type)});
    const auto wanted =
        torch::autograd::grad({expected}, {exact.begin(), exact.end()}, {upstream.to(at::kDouble)});
    for (std::size_t i = 0; i < wanted.size(); ++i)
      EXPECT_LT(relative_difference(gradients[i], wanted[i]), tolerance) << "gradient of argument " << i;
  }

  /// The same under autocast to `type`.
  static void compare_under_autocast(at::ScalarType type, double tolerance, double of_gradients) {
    const Case& c = GetParam();
    auto given = arguments(c, at::kFloat);
    const auto exact = arguments(c);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::set_autocast_dtype(at::kCPU, type);
    const at::Tensor out = ours(c, given[0], given[1], c.bias ? given[2] : at::Tensor());
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    EXPECT_EQ(out.scalar_type(), type);
    const at::Tensor expected = reference(c, exact[0], exact[1], c.bias ? exact[2] : at::Tensor());
    EXPECT_LT(relative_difference(out.detach(), expected.detach()), tolerance);

    constexpr double kSmall = 1.0 / 256;  // float16 ends at 65504
    const auto gradients =
        torch::autograd::grad({out.to(at::kFloat).square().sum() * kSmall}, {given.begin(), given.end()});
    const auto wanted =
        torch::autograd::grad({expected.square().sum() * kSmall}, {exact.begin(), exact.end()});
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(gradients[i].scalar_type(), at::kFloat)
          << "master weights and float32 inputs keep their type";
      EXPECT_LT(relative_difference(gradients[i], wanted[i]), of_gradients) << "gradient of argument " << i;
    }
  }
};

TEST_P(Conv3dTest, EqualsUpsamplingPaddingAndConvolution) { compare(at::kDouble, 1e-13); }

TEST_P(Conv3dTest, Float32) { compare(at::kFloat, 1e-5); }

TEST_P(Conv3dTest, AutocastsToBfloat16) { compare_under_autocast(at::kBFloat16, 0.02, 0.03); }

TEST_P(Conv3dTest, AutocastsToFloat16) { compare_under_autocast(at::kHalf, 3e-3, 1e-2); }

/// The gradient of a gradient penalty: of |d sum(y^2) / dx|^2 with respect to everything.
TEST_P(Conv3dTest, GradientsHaveGradients) {
  const Case& c = GetParam();
  const auto penalty_gradients = [&](const auto& convolution) {
    const auto all = arguments(c);
    const at::Tensor out = convolution(c, all[0], all[1], c.bias ? all[2] : at::Tensor());
    const auto first = torch::autograd::grad({out.square().sum()}, {all.begin(), all.end()}, {}, true, true);
    at::Tensor penalty = first[0].square().sum();
    for (std::size_t i = 1; i < first.size(); ++i) penalty = penalty + first[i].square().sum();
    return torch::autograd::grad({penalty}, {all.begin(), all.end()});
  };
  const auto second = penalty_gradients(ours), wanted = penalty_gradients(reference);
  for (std::size_t i = 0; i < wanted.size(); ++i)
    EXPECT_LT(relative_difference(second[i], wanted[i]), 1e-12) << "argument " << i;
}

INSTANTIATE_TEST_SUITE_P(Layers, Conv3dTest, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Conv3dGradientTest, EqualsCentralDifferences) {
  expect_gradients(
      [](const std::vector<at::Tensor>& all) {
        return ops::conv3d(all[0], all[1], all[2], Padding3::same({2, 3, 2}));
      },
      {normal_tensor({1, 2, 2, 3, 2}, 1, at::kDouble), normal_tensor({2, 2, 2, 3, 2}, 2, at::kDouble),
       normal_tensor({2}, 3, at::kDouble)});
}

TEST(Conv3dGradientTest, StretchesAreOneImage) {
  const Padding3 padding = {{2, 0, 1}, {0, 1, 1}};
  for (const Extent3& factor : {Extent3{1, 1, 1}, Extent3{2, 1, 2}}) {
    const at::Tensor image = normal_tensor({2, 7, 4, 5, 3}, 1, at::kDouble).requires_grad_(),
                     weight = normal_tensor({4, 3, 3, 2, 3}, 2, at::kDouble).requires_grad_();
    const auto convolved = [&](at::TensorList stretches) {
      if (factor == Extent3{1, 1, 1}) return ops::conv3d(stretches, weight, {}, padding);
      return ops::upsampled_conv3d(stretches, weight, {}, factor, padding);
    };
    const at::Tensor whole = convolved(image);
    const at::Tensor cut = convolved({image.narrow(1, 0, 2), image.narrow(1, 2, 0), image.narrow(1, 2, 5)});
    EXPECT_TRUE(cut.equal(whole));
    const at::Tensor upstream = normal_tensor(whole.sizes(), 3, at::kDouble);
    const auto expected = torch::autograd::grad({whole}, {image, weight}, {upstream}),
               found = torch::autograd::grad({cut}, {image, weight}, {upstream});
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(found[i].equal(expected[i])) << i;
  }
}

/// Its inner product with an image is that of its input with the image's convolution.
TEST(TransposedConv3dTest, IsTheAdjointOfAConvolution) {
  const Extent3 stride = {2, 3, 1};
  const Padding3 cut = {{1, 0, 0}, {0, 2, 1}};
  const at::Tensor coarse = normal_tensor({2, 3, 2, 4, 2}, 1, at::kDouble),
                   weight = normal_tensor({2, 3, 3, 4, 2}, 2, at::kDouble),
                   bias = normal_tensor({3}, 3, at::kDouble);
  const at::Tensor fine = ops::transposed_conv3d(coarse, weight, {}, stride, cut);
  EXPECT_EQ(fine.sizes(), (std::vector<std::int64_t>{2, 6, 5, 4, 3}));
  EXPECT_TRUE(fine.is_contiguous());
  const at::Tensor image = normal_tensor(fine.sizes(), 4, at::kDouble);
  const at::Tensor convolved = ops::conv3d(image, weight, {}, cut, stride);
  EXPECT_LT(relative_difference((fine * image).sum(), (coarse * convolved).sum()), 1e-12);
  EXPECT_LT(relative_difference(ops::transposed_conv3d(coarse, weight, bias, stride, cut), fine + bias),
            1e-12);
  EXPECT_LT(relative_difference(
                ops::transposed_conv3d(coarse.to(at::kFloat), weight.to(at::kFloat), {}, stride, cut), fine),
            1e-5);
}

TEST(TransposedConv3dTest, RefusesShapesThatDoNotFit) {
  const at::Tensor image = normal_tensor({1, 2, 2, 2, 2}, 1), weight = normal_tensor({2, 3, 2, 2, 2}, 2);
  EXPECT_THROW(ops::transposed_conv3d(image, weight.transpose(0, 1), {}, {2, 2, 2}), ConfigError);
  EXPECT_THROW(ops::transposed_conv3d(image, weight, {}, {2, 2, 2}, around({0, 2, 0})), ConfigError);
}

TEST(Conv3dGradientTest, ComputesOnlyWhatIsAskedFor) {
  at::Tensor x = normal_tensor({1, 5, 5, 5, 2}, 1), w = normal_tensor({3, 2, 3, 3, 3}, 2);
  x.requires_grad_(true);
  ops::conv3d(x, w, {}, {}).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(w.grad().defined());
  x = x.detach();
  w.requires_grad_(true);
  ops::conv3d(x, w, {}, {}).sum().backward();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_TRUE(w.grad().defined());
}

TEST(PhaseKernelsTest, AutocastDuringBackwardDoesNotRoundTheWeightsGradient) {
  const auto gradient = [](bool autocast) {
    const at::Tensor weight = normal_tensor({3, 2, 5, 4, 6}, 1, at::kFloat).requires_grad_();
    at::autocast::set_autocast_enabled(at::kCPU, autocast);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    const at::Tensor kernels = ops::phase_kernels(weight, {2, 2, 1}, ops::Padding3::symmetric({2, 1, 0}));
    kernels.backward(normal_tensor(kernels.sizes(), 2, at::kFloat));
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    return weight.grad();
  };
  EXPECT_TRUE(gradient(true).equal(gradient(false)));
}

TEST(Conv3dEmptyBatchTest, GivesAnEmptyBatchAndZeroGradients) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    for (const Case& c : {kCases[1], kCases[8]}) {
      const auto all = arguments(c, type);
      const at::Tensor none = all[0].detach().slice(0, 0, 0).requires_grad_(true);
      const at::Tensor out = ours(c, none, all[1], all[2]);
      EXPECT_EQ(out.size(0), 0);
      EXPECT_EQ(out.size(4), c.out);
      const auto gradients = torch::autograd::grad({out.sum()}, {none, all[1], all[2]});
      EXPECT_EQ(gradients[0].sizes(), none.sizes());
      EXPECT_EQ(gradients[1].abs().sum().item<double>(), 0);
      EXPECT_EQ(gradients[2].abs().sum().item<double>(), 0);
    }
  }
}

TEST(Conv3dErrorTest, NamesTheAxisOrTheShapes) {
  const at::Tensor image = normal_tensor({1, 4, 4, 4, 2}, 1);
  EXPECT_THROW(ops::conv3d(image, normal_tensor({3, 1, 2, 2, 2}, 2), {}, {}), ConfigError);
  EXPECT_THROW(ops::conv3d(image[0], normal_tensor({3, 2, 2, 2, 2}, 2), {}, {}), ConfigError);
  EXPECT_THROW(ops::upsampled_conv3d(image, normal_tensor({3, 2, 2, 2, 2}, 2), {}, {2, 0, 2}, {}),
               ConfigError);
  EXPECT_THROW(ops::conv3d(image, normal_tensor({3, 2, 2, 2, 2}, 2), {}, {{0, -1, 0}, {}}), ConfigError);
  EXPECT_THROW(ops::conv3d(image, normal_tensor({3, 2, 2, 2, 2}, 2), {}, {}, {1, 0, 1}), ConfigError);
  EXPECT_THROW(ops::conv3d(image, normal_tensor({3, 2, 2, 2, 2}, 2), {}, {}, {1, 1, 1}, {4, 1, 1}),
               ConfigError);
  try {
    ops::conv3d(image, normal_tensor({3, 2, 2, 7, 2}, 2), {}, around({1, 1, 1}));
    ADD_FAILURE() << "a kernel of 7 cells was laid on 6";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("7 cells does not fit 6"), std::string::npos) << error.what();
  }
}

TEST(Padding3Test, SameIsThatOfKeras) {
  const Padding3 padding = Padding3::same({5, 6, 1});
  EXPECT_EQ(padding.before, (Extent3{2, 2, 0}));
  EXPECT_EQ(padding.after, (Extent3{2, 3, 0}));
}

}  // namespace
}  // namespace bunchtrain::test
