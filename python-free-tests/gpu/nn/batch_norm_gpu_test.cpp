// SPDX-License-Identifier: Apache-2.0
// Batch norm on a GPU equals batch norm on the CPU in float64, forward and backward.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "bunchtrain/nn/batch_norm.hpp"
#include "no_synchronisation.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::test {
namespace {

using nn::random_normal;
using nn::relative_difference;

nn::BatchNorm make_norm(std::int64_t channels, at::Device device, at::ScalarType type) {
  nn::BatchNorm norm(nn::BatchNormOptions{.channels = channels});
  const c10::NoGradGuard no_grad;
  norm->weight.copy_(random_normal({channels}, 100));
  norm->bias.copy_(random_normal({channels}, 101));
  norm->to(device, type);
  return norm;
}

struct Result {
  at::Tensor output, input_gradient, weight_gradient, bias_gradient, mean, variance;
};

/// Output and gradients of sum(output * probe).
Result run(nn::BatchNorm norm, const at::Tensor& input, const at::Tensor& probe,
           const std::optional<at::Tensor>& mask, bool relu) {
  const at::Tensor x = input.detach().clone().requires_grad_();
  const at::Tensor y = norm->forward(x, mask, relu);
  y.backward(probe);
  return {y, x.grad(), norm->weight.grad(), norm->bias.grad(), norm->running_mean, norm->running_var};
}

void expect_close(const Result& gpu, const Result& cpu, double tolerance) {
  EXPECT_LT(relative_difference(gpu.output.cpu(), cpu.output), tolerance);
  EXPECT_LT(relative_difference(gpu.input_gradient.cpu(), cpu.input_gradient), tolerance);
  EXPECT_LT(relative_difference(gpu.weight_gradient.cpu(), cpu.weight_gradient), tolerance);
  EXPECT_LT(relative_difference(gpu.bias_gradient.cpu(), cpu.bias_gradient), tolerance);
  EXPECT_LT(relative_difference(gpu.mean.cpu(), cpu.mean), tolerance);
  EXPECT_LT(relative_difference(gpu.variance.cpu(), cpu.variance), tolerance);
}

struct Precision {
  at::ScalarType type;
  double tolerance;
};
constexpr Precision kPrecisions[] = {{at::kFloat, 3e-5}, {at::kBFloat16, 2e-2}, {at::kHalf, 4e-3}};

class BatchNormGpuTest : public testing::TestWithParam<std::tuple<Precision, bool, bool, bool>> {};

TEST_P(BatchNormGpuTest, EqualsTheCpuInFloat64) {
  const auto [precision, relu, training, masked] = GetParam();
  for (const std::int64_t channels : {1, 7, 64, 256}) {
    SCOPED_TRACE(channels);
    // Rounded first, so that the ReLU sees the same numbers.
    const at::Tensor input = random_normal({9, 131, channels}, 1).add(2.0).to(precision.type);
    const at::Tensor probe = random_normal({9, 131, channels}, 2).to(precision.type);
    const at::Tensor some = random_normal({9, 131}, 3).gt(0);
    const auto mask = masked ? std::optional(some) : std::nullopt;
    const auto mask_on_gpu = masked ? std::optional(some.cuda()) : std::nullopt;
    nn::BatchNorm cpu = make_norm(channels, at::kCPU, at::kDouble),
                  gpu = make_norm(channels, at::kCUDA, at::kFloat);
    cpu->train(training);
    gpu->train(training);
    const Result expected = run(cpu, input.to(at::kDouble), probe.to(at::kDouble), mask, relu);
    const Result found = run(gpu, input.cuda(), probe.cuda(), mask_on_gpu, relu);
    EXPECT_EQ(found.output.scalar_type(), precision.type);
    expect_close(found, expected, precision.tolerance);
    EXPECT_EQ(gpu->num_batches_tracked.item<std::int64_t>(), training ? 1 : 0);
    const Result again =
        run(make_norm(channels, at::kCUDA, at::kFloat), input.cuda(), probe.cuda(), mask_on_gpu, relu);
    if (training) {
      EXPECT_TRUE(again.input_gradient.equal(found.input_gradient)) << "two runs";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, BatchNormGpuTest,
                         testing::Combine(testing::ValuesIn(kPrecisions), testing::Bool(), testing::Bool(),
                                          testing::Bool()));

TEST(BatchNormGpuBehaviourTest, NeverWaitsForTheDevice) {
  const at::Tensor input = random_normal({40, 64}, 1, at::kFloat).cuda();
  const at::Tensor probe = random_normal({40, 64}, 2, at::kFloat).cuda();
  const at::Tensor mask = random_normal({40}, 3).gt(0).cuda();
  for (const at::ScalarType parameters : {at::kFloat, at::kDouble}) {
    nn::BatchNorm norm = make_norm(64, at::kCUDA, parameters);
    run(norm, input, probe, mask, true);  // loads the kernels
    const NoSynchronisation guard;
    run(norm, input, probe, mask, true);
    norm->eval();
    run(norm, input, probe, mask, true);
  }
}

TEST(BatchNormGpuBehaviourTest, TakesBatchesWithoutRowsAndWithoutRowsThatCount) {
  nn::BatchNorm norm = make_norm(5, at::kCUDA, at::kFloat);
  const Result none = run(norm, at::zeros({0, 5}).cuda(), at::zeros({0, 5}).cuda(), std::nullopt, true);
  EXPECT_TRUE(none.weight_gradient.cpu().equal(at::zeros({5})));
  run(norm, random_normal({6, 5}, 1, at::kFloat).cuda(), random_normal({6, 5}, 2, at::kFloat).cuda(),
      at::zeros({6}, at::kBool).cuda(), true);
  EXPECT_TRUE(norm->running_mean.cpu().equal(at::zeros({5})));
}

/// Stands for a second rank that has the same rows.
class Twice : public ops::StatisticsReducer {
 public:
  void all_reduce_sum(at::Tensor& statistics) override { statistics.mul_(2); }
};

TEST(BatchNormGpuBehaviourTest, SumsStatisticsOverRanks) {
  const at::Tensor input = random_normal({50, 7}, 1), probe = random_normal({50, 7}, 2);
  nn::BatchNorm whole = make_norm(7, at::kCPU, at::kDouble), rank = make_norm(7, at::kCUDA, at::kFloat);
  rank->set_reducer(std::make_shared<Twice>());
  const Result expected = run(whole, at::cat({input, input}), at::cat({probe, probe}), std::nullopt, true);
  const Result found =
      run(rank, input.to(at::kFloat).cuda(), probe.to(at::kFloat).cuda(), std::nullopt, true);
  EXPECT_LT(relative_difference(found.input_gradient.cpu(), expected.input_gradient.narrow(0, 0, 50)), 3e-5);
  EXPECT_LT(relative_difference(found.weight_gradient.cpu().mul(2), expected.weight_gradient), 3e-5);
  EXPECT_LT(relative_difference(found.variance.cpu(), expected.variance), 3e-5);
}

TEST(BatchNormGpuBehaviourTest, ServesWhatHasNoKernelByLibTorch) {
  const at::Tensor input = random_normal({50, 7}, 1), probe = random_normal({50, 7}, 2);
  const Result expected = run(make_norm(7, at::kCPU, at::kDouble), input, probe, std::nullopt, true);
  expect_close(run(make_norm(7, at::kCUDA, at::kDouble), input.cuda(), probe.cuda(), std::nullopt, true),
               expected, 1e-11);
}

}  // namespace
}  // namespace bunchtrain::test
