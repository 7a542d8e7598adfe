// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/edge_conv.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "bunchtrain/ops/knn.hpp"
#include "edge_conv_reference.hpp"
#include "random_tensors.hpp"

namespace bunchtrain::nn {
namespace {

constexpr std::int64_t kSlots = 14, kNeighbours = 4, kIn = 6;
using Widths = std::array<std::int64_t, 3>;

/// Jets from full to empty, among them some with fewer padded slots than neighbours.
struct Input {
  at::Tensor features, indices, mask;
};

Input make_input(at::ScalarType type, bool zeroed) {
  const at::Tensor counts = at::tensor({14, 12, 9, 5, 4, 1, 0, 14, 10}, at::kLong).unsqueeze(1);
  const at::Tensor mask = at::arange(kSlots).unsqueeze(0).lt(counts);
  at::Tensor features = random_normal({mask.size(0), kSlots, kIn}, 1);
  // The keras rule lets padded points keep features, all the same ones.
  features =
      zeroed ? features.mul(mask.unsqueeze(2)) : features.where(mask.unsqueeze(2), random_normal({kIn}, 2));
  const at::Tensor indices =
      ops::knn(random_normal({mask.size(0), kSlots, 2}, 3), mask, {.k = kNeighbours}).indices;
  return {features.to(type), indices, mask};
}

EdgeConvBlock make_block(at::ScalarType type, Widths widths = {5, 8, 7}, bool recompute = false) {
  EdgeConvBlock block(EdgeConvOptions{.in_channels = kIn, .channels = widths, .recompute = recompute});
  fill_default_weights(*block, 5);
  const c10::NoGradGuard no_grad;
  std::uint64_t stream = 50;
  for (const auto& item : block->named_parameters()) {
    if (item.value().dim() == 1)
      item.value().add_(random_normal(item.value().sizes(), stream++, at::kFloat), 0.3);
  }
  block->to(type);
  return block;
}

/// Output and the gradients of sum(output * probe), parameters in order.
struct Result {
  at::Tensor output, input_gradient;
  std::vector<at::Tensor> gradients;
};

template <class Forward>
Result run(EdgeConvBlock block, const Input& input, const Padding& padding, Forward&& forward) {
  block->zero_grad();
  const at::Tensor x = input.features.clone().requires_grad_();
  const at::Tensor y = forward(block, x, input.indices, padding);
  const at::Tensor real =
      padding.zeroed ? padding.mask.unsqueeze(2) : at::ones_like(padding.mask).unsqueeze(2);
  y.mul(random_normal(y.sizes(), 9, y.scalar_type())).sum().backward();
  // The gradient of zeroed padding goes nowhere: the caller has masked it.
  Result result{y.detach(), x.grad().mul(real), {}};
  for (const at::Tensor& parameter : block->parameters())
    result.gradients.push_back(parameter.grad().clone());
  return result;
}

Result run_block(EdgeConvBlock block, const Input& input, const Padding& padding) {
  return run(block, input, padding,
             [](EdgeConvBlock b, const at::Tensor& x, const at::Tensor& indices, const Padding& p) {
               return b->forward(x, indices, p);
             });
}

void expect_close(const Result& value, const Result& expected, double tolerance) {
  EXPECT_LT(relative_difference(value.output, expected.output), tolerance);
  EXPECT_LT(relative_difference(value.input_gradient, expected.input_gradient), tolerance);
  ASSERT_EQ(value.gradients.size(), expected.gradients.size());
  for (std::size_t i = 0; i < value.gradients.size(); ++i) {
    EXPECT_LT(relative_difference(value.gradients[i], expected.gradients[i]), tolerance) << "parameter " << i;
  }
}

void expect_equal(const Result& value, const Result& expected) {
  EXPECT_TRUE(at::equal(value.output, expected.output));
  EXPECT_TRUE(at::equal(value.input_gradient, expected.input_gradient));
  for (std::size_t i = 0; i < value.gradients.size(); ++i)
    EXPECT_TRUE(at::equal(value.gradients[i], expected.gradients[i])) << i;
}

/// Zeroed padding, counted padding, training, widths.
class EdgeConvTest : public testing::TestWithParam<std::tuple<bool, bool, bool, Widths>> {};

TEST_P(EdgeConvTest, EqualsThePaperInFloat64) {
  const auto [zeroed, counted, training, widths] = GetParam();
  EdgeConvBlock block = make_block(at::kDouble, widths);
  block->train(training);
  const Input input = make_input(at::kDouble, zeroed);
  const Padding padding{.mask = input.mask, .zeroed = zeroed, .counted = counted};
  const Result expected = run(block, input, padding, reference_edge_conv);
  expect_close(run_block(block, input, padding), expected, 1e-9);
}

TEST_P(EdgeConvTest, RecomputedEdgesGiveTheSameBits) {
  const auto [zeroed, counted, training, widths] = GetParam();
  const Input input = make_input(at::kFloat, zeroed);
  const Padding padding{.mask = input.mask, .zeroed = zeroed, .counted = counted};
  EdgeConvBlock kept = make_block(at::kFloat, widths), recomputed = make_block(at::kFloat, widths, true);
  kept->train(training);
  recomputed->train(training);
  expect_equal(run_block(recomputed, input, padding), run_block(kept, input, padding));
}

INSTANTIATE_TEST_SUITE_P(Rules, EdgeConvTest,
                         testing::Combine(testing::Bool(), testing::Bool(), testing::Bool(),
                                          testing::Values(Widths{5, 8, 7}, Widths{6, 6, 6})));

TEST(EdgeConvThreadsTest, ThreadsDoNotChangeTheBits) {
  const int before = at::get_num_threads();
  const Input input = make_input(at::kFloat, true);
  const Padding padding{.mask = input.mask};
  at::set_num_threads(1);
  const Result one = run_block(make_block(at::kFloat, {64, 64, 64}), input, padding);
  at::set_num_threads(3);
  const Result three = run_block(make_block(at::kFloat, {64, 64, 64}), input, padding);
  at::set_num_threads(before);
  expect_equal(three, one);
}

TEST(EdgeConvGraphTest, ARetainedGraphCanBeWalkedTwice) {
  const Input input = make_input(at::kFloat, true);
  EdgeConvBlock block = make_block(at::kFloat);
  const at::Tensor loss = block->forward(input.features, input.indices, {.mask = input.mask}).square().sum();
  loss.backward({}, /*retain_graph=*/true);
  std::vector<at::Tensor> once;
  for (const at::Tensor& parameter : block->parameters()) once.push_back(parameter.grad().clone());
  loss.backward();
  for (std::size_t i = 0; i < once.size(); ++i)
    EXPECT_TRUE(at::equal(block->parameters()[i].grad(), once[i].mul(2.0))) << i;
}

TEST(EdgeConvGraphTest, EvaluationWithoutGradientsIsTheSame) {
  const Input input = make_input(at::kFloat, true);
  EdgeConvBlock block = make_block(at::kFloat);
  block->eval();
  const at::Tensor with = block->forward(input.features, input.indices, {.mask = input.mask});
  const c10::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(block->forward(input.features, input.indices, {.mask = input.mask}), with));
}

/// bfloat16 flips some ReLUs, so single entries differ much: norms are compared.
double relative_norm(const at::Tensor& value, const at::Tensor& expected) {
  return value.sub(expected).norm().item<double>() / expected.norm().item<double>();
}

TEST(EdgeConvPrecisionTest, AutocastKeepsPointsInFloat32) {
  const Input input = make_input(at::kFloat, true);
  const Padding padding{.mask = input.mask};
  const Result expected = run_block(make_block(at::kFloat, {64, 64, 64}), input, padding);
  const device::PrecisionGuard guard(device::Precision::bfloat16, at::kCPU);
  const Result narrow = run_block(make_block(at::kFloat, {64, 64, 64}), input, padding);
  EXPECT_EQ(narrow.output.scalar_type(), at::kFloat);
  EXPECT_LT(relative_norm(narrow.output, expected.output), 2e-2);
  EXPECT_LT(relative_norm(narrow.input_gradient, expected.input_gradient), 8e-2);
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    EXPECT_LT(relative_norm(narrow.gradients[i], expected.gradients[i]), 8e-2) << "parameter " << i;
  }
  EXPECT_FALSE(at::equal(narrow.output, expected.output)) << "edges were not bfloat16";
}

TEST(EdgeConvPrecisionTest, OtherDtypesGoThroughOperations) {
  const Input input = make_input(at::kFloat, true);
  const Padding padding{.mask = input.mask};
  const Result expected = run_block(make_block(at::kFloat), input, padding);
  Input narrow = input;
  narrow.features = input.features.to(at::kBFloat16);
  const Result result = run_block(make_block(at::kBFloat16), narrow, padding);
  EXPECT_EQ(result.output.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_difference(result.output, expected.output), 6e-2);
}

TEST(EdgeConvPrecisionTest, OperationsRecomputeTheSame) {
  Input input = make_input(at::kBFloat16, true);
  const Padding padding{.mask = input.mask};
  EdgeConvBlock kept = make_block(at::kBFloat16), recomputed = make_block(at::kBFloat16, {5, 8, 7}, true);
  const Result result = run_block(recomputed, input, padding), expected = run_block(kept, input, padding);
  EXPECT_TRUE(at::equal(result.output, expected.output));
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    EXPECT_TRUE(at::equal(result.gradients[i], expected.gradients[i])) << i;
  }
  // Autograd adds the shares of the input's gradient in another order, each sum rounded to bfloat16.
  EXPECT_LT(relative_difference(result.input_gradient, expected.input_gradient), 1.0 / 128);
  EXPECT_TRUE(at::equal(recomputed->layer_norm(2)->running_var, kept->layer_norm(2)->running_var));
  EXPECT_EQ(recomputed->layer_norm(2)->num_batches_tracked.item<std::int64_t>(), 1);
}

/// Under float16 the CPU's passes store edges in float32: no rounding of 8 bits in silence.
TEST(EdgeConvPrecisionTest, EdgesOfTheCpuStayFloat32UnderFloat16) {
  const Input input = make_input(at::kFloat, true);
  const Padding padding{.mask = input.mask};
  const Result expected = run_block(make_block(at::kFloat, {64, 64, 64}), input, padding);
  const device::PrecisionGuard guard(device::Precision::float16, at::kCPU);
  const Result narrow = run_block(make_block(at::kFloat, {64, 64, 64}), input, padding);
  EXPECT_LT(relative_norm(narrow.output, expected.output), 1e-3);
  EXPECT_LT(relative_norm(narrow.input_gradient, expected.input_gradient), 4e-2);
}

/// Backward runs outside the autocast of forward, where its dtype is bfloat16: the edges are computed again
/// in that of forward. Inputs of another dtype than the weights go through operations.
TEST(EdgeConvPrecisionTest, RecomputesInTheDtypeOfForward) {
  const Input input = make_input(at::kHalf, true);
  const auto run_narrow = [&](bool recompute) {
    return run(
        make_block(at::kFloat, {5, 8, 7}, recompute), input, {.mask = input.mask},
        [](EdgeConvBlock& block, const at::Tensor& x, const at::Tensor& indices, const Padding& padding) {
          const device::PrecisionGuard guard(device::Precision::float16, at::kCPU);
          return block->forward(x, indices, padding);
        });
  };
  const Result kept = run_narrow(false), recomputed = run_narrow(true);
  EXPECT_EQ(kept.output.scalar_type(), at::kHalf);
  EXPECT_TRUE(at::equal(recomputed.output, kept.output));
  for (std::size_t i = 0; i < kept.gradients.size(); ++i)
    EXPECT_LT(relative_difference(recomputed.gradients[i], kept.gradients[i]), 1e-3) << i;
}

TEST(EdgeConvOptionsTest, RefusesEmptyLayers) {
  EXPECT_THROW(EdgeConvBlock(EdgeConvOptions{.in_channels = 0}), ConfigError);
  EXPECT_THROW(EdgeConvBlock(EdgeConvOptions{.in_channels = 2, .channels = {4, 0, 4}}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::nn
