// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/batch_norm.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "random_tensors.hpp"

namespace bunchtrain::nn {
namespace {

constexpr std::int64_t kRows = 5000, kChannels = 19;

BatchNorm make_norm(at::ScalarType type, std::int64_t channels = kChannels) {
  BatchNorm norm(BatchNormOptions{.channels = channels});
  const c10::NoGradGuard no_grad;
  norm->weight.copy_(random_normal({channels}, 100));
  norm->bias.copy_(random_normal({channels}, 101));
  norm->to(type);
  return norm;
}

/// Outputs, gradients of sum(output * probe), running statistics.
struct Result {
  at::Tensor output, input_gradient, weight_gradient, bias_gradient, mean, variance;
};

Result run_ours(BatchNorm norm, const at::Tensor& input, const at::Tensor& probe, bool relu,
                const std::optional<at::Tensor>& mask = {}) {
  const at::Tensor x = input.clone().requires_grad_();
  const at::Tensor y = norm->forward(x, mask, relu);
  y.mul(probe).sum().backward();
  return {y, x.grad(), norm->weight.grad(), norm->bias.grad(), norm->running_mean, norm->running_var};
}

/// LibTorch's own batch norm, in float64.
Result run_libtorch(BatchNorm norm, const at::Tensor& input, const at::Tensor& probe, bool relu,
                    bool training) {
  const at::Tensor x = input.to(at::kDouble).clone().requires_grad_();
  const at::Tensor weight = norm->weight.detach().to(at::kDouble).requires_grad_(),
                   bias = norm->bias.detach().to(at::kDouble).requires_grad_();
  const at::Tensor mean = norm->running_mean.to(at::kDouble).clone(),
                   variance = norm->running_var.to(at::kDouble).clone();
  at::Tensor y = std::get<0>(at::native_batch_norm(x, weight, bias, mean, variance, training, 0.1, 1e-5));
  if (relu) y = at::relu(y);
  y.mul(probe.to(at::kDouble)).sum().backward();
  return {y, x.grad(), weight.grad(), bias.grad(), mean, variance};
}

void expect_close(const Result& ours, const Result& expected, double tolerance) {
  EXPECT_LT(relative_difference(ours.output, expected.output), tolerance);
  EXPECT_LT(relative_difference(ours.input_gradient, expected.input_gradient), tolerance);
  EXPECT_LT(relative_difference(ours.weight_gradient, expected.weight_gradient), tolerance);
  EXPECT_LT(relative_difference(ours.bias_gradient, expected.bias_gradient), tolerance);
  EXPECT_LT(relative_difference(ours.mean, expected.mean), tolerance);
  EXPECT_LT(relative_difference(ours.variance, expected.variance), tolerance);
}

/// dtype of the rows and what its rounding allows. float16 has no kernels of ours and goes
/// through LibTorch's operations.
struct Precision {
  at::ScalarType type;
  double tolerance;
};

class BatchNormTest : public testing::TestWithParam<std::tuple<Precision, bool, bool>> {};

TEST_P(BatchNormTest, EqualsLibTorch) {
  const auto [precision, relu, training] = GetParam();
  const at::Tensor input = random_normal({kRows, kChannels}, 1).add(2.0).to(precision.type);
  const at::Tensor probe = random_normal({kRows, kChannels}, 2).to(precision.type);
  const at::ScalarType parameters = precision.type == at::kDouble ? at::kDouble : at::kFloat;
  BatchNorm ours = make_norm(parameters), theirs = make_norm(parameters);
  ours->train(training);
  const Result expected = run_libtorch(theirs, input, probe, relu, training);
  const Result result = run_ours(ours, input, probe, relu);
  EXPECT_EQ(result.output.scalar_type(), precision.type);
  expect_close(result, expected, precision.tolerance);
  EXPECT_EQ(ours->num_batches_tracked.item<std::int64_t>(), training ? 1 : 0);
}

INSTANTIATE_TEST_SUITE_P(
    Precisions, BatchNormTest,
    testing::Combine(testing::Values(Precision{at::kDouble, 1e-11}, Precision{at::kFloat, 3e-5},
                                     Precision{at::kBFloat16, 2e-2}, Precision{at::kHalf, 4e-3}),
                     testing::Bool(), testing::Bool()));

/// Few channels are computed several rows at a time: as many as fit, and the rows that are left.
class BatchNormChannelsTest : public testing::TestWithParam<std::int64_t> {};

TEST_P(BatchNormChannelsTest, EqualsLibTorch) {
  const std::int64_t channels = GetParam();
  for (const std::int64_t rows : {7, 63, 64, 4099}) {
    const at::Tensor input = random_normal({rows, channels}, 1).add(2.0);
    const at::Tensor probe = random_normal({rows, channels}, 2);
    const BatchNorm ours = make_norm(at::kDouble, channels), theirs = make_norm(at::kDouble, channels);
    expect_close(run_ours(ours, input, probe, true), run_libtorch(theirs, input, probe, true, true), 1e-10);
  }
}

INSTANTIATE_TEST_SUITE_P(Few, BatchNormChannelsTest, testing::Values(1, 6, 8, 32, 33, 64, 65));

TEST(BatchNormMaskTest, StatisticsAreThoseOfTheMaskedRows) {
  const at::Tensor input = random_normal({4, 30, kChannels}, 3);
  const at::Tensor mask = random_normal({4, 30}, 4).gt(0);
  BatchNorm masked = make_norm(at::kDouble), selected = make_norm(at::kDouble);
  const at::Tensor all = masked->forward(input, mask);
  const at::Tensor some = selected->forward(input.index({mask}));
  EXPECT_LT(relative_difference(all.index({mask}), some), 1e-12);
  EXPECT_LT(relative_difference(masked->running_mean, selected->running_mean), 1e-12);
  EXPECT_LT(relative_difference(masked->running_var, selected->running_var), 1e-12);
}

/// Central differences in float64 of sum(output * probe) with respect to `at`.
at::Tensor numeric_gradient(const std::function<double()>& value, at::Tensor at) {
  const at::Tensor gradient = at::zeros_like(at, at::kDouble);
  constexpr double kStep = 1e-6;
  auto* entry = at.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < at.numel(); ++i) {
    const double before = entry[i];
    entry[i] = before + kStep;
    const double above = value();
    entry[i] = before - kStep;
    gradient.mutable_data_ptr<double>()[i] = (above - value()) / (2 * kStep);
    entry[i] = before;
  }
  return gradient;
}

TEST(BatchNormMaskTest, GradientsMatchDifferences) {
  for (const bool relu : {false, true}) {
    BatchNorm norm = make_norm(at::kDouble);
    const at::Tensor input = random_normal({12, kChannels}, 5), probe = random_normal({12, kChannels}, 6);
    const at::Tensor mask = at::arange(12).remainder(3).gt(0);
    const Result result = run_ours(norm, input, probe, relu, mask);
    const c10::NoGradGuard no_grad;
    const auto value = [&] { return norm->forward(input, mask, relu).mul(probe).sum().item<double>(); };
    EXPECT_LT(relative_difference(result.input_gradient, numeric_gradient(value, input)), 1e-6);
    EXPECT_LT(relative_difference(result.weight_gradient, numeric_gradient(value, norm->weight)), 1e-6);
    EXPECT_LT(relative_difference(result.bias_gradient, numeric_gradient(value, norm->bias)), 1e-6);
  }
}

TEST(BatchNormMaskTest, NoRowLeavesTheRunningStatistics) {
  BatchNorm norm = make_norm(at::kFloat);
  const at::Tensor y = norm->forward(random_normal({6, kChannels}, 7, at::kFloat), at::zeros({6}, at::kBool));
  EXPECT_TRUE(y.isfinite().all().item<bool>());
  EXPECT_TRUE(at::equal(norm->running_mean, at::zeros({kChannels})));
  EXPECT_TRUE(at::equal(norm->running_var, at::ones({kChannels})));
}

TEST(BatchNormMaskTest, OneRowIsFinite) {
  BatchNorm norm = make_norm(at::kFloat);
  const Result result =
      run_ours(norm, random_normal({1, kChannels}, 8, at::kFloat), at::ones({1, kChannels}), true);
  EXPECT_TRUE(result.output.isfinite().all().item<bool>());
  EXPECT_TRUE(result.input_gradient.isfinite().all().item<bool>());
  EXPECT_TRUE(result.variance.isfinite().all().item<bool>());
}

TEST(BatchNormMaskTest, RefusesWhatDoesNotFit) {
  BatchNorm norm = make_norm(at::kFloat);
  EXPECT_THROW(norm->forward(at::zeros({4, kChannels + 1})), ConfigError);
  EXPECT_THROW(norm->forward(at::zeros({kChannels})), ConfigError);
  EXPECT_THROW(norm->forward(at::zeros({4, kChannels}, at::kLong)), ConfigError);
  EXPECT_THROW(norm->forward(at::zeros({4, kChannels}), at::zeros({3}, at::kBool)), ConfigError);
  EXPECT_THROW(norm->forward(at::zeros({4, kChannels}), at::zeros({4})), ConfigError);
  EXPECT_THROW(BatchNorm(BatchNormOptions{.channels = 0}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::nn
