// SPDX-License-Identifier: Apache-2.0
// Dropout on a GPU drops the very elements that it drops on the CPU, forward and backward.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <gtest/gtest.h>

#include "bunchtrain/ops/dropout.hpp"
#include "gpu/nn/no_synchronisation.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::test {
namespace {

struct Result {
  at::Tensor output, gradient;
};

Result run(const at::Tensor& input, const at::Tensor& ids) {
  const at::Tensor x = input.detach().clone().requires_grad_();
  const at::Tensor keys = ops::dropout_keys({.seed = 7, .step = 123, .site = 4}, ids, x.device());
  const at::Tensor y = ops::dropout(x, keys, 0.3);
  y.backward(at::ones_like(y).mul(3));
  return {y.detach(), x.grad()};
}

TEST(DropoutGpuTest, GivesTheBitsOfTheCpu) {
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf})
    for (const std::int64_t elements : {1, 16, 100, 128, 1000}) {
      const at::Tensor input = nn::random_normal({37, elements, 3}, 1, type),
                       ids = at::arange(37, at::kLong).mul(1001);
      const Result cpu = run(input, ids);
      for (const at::Tensor& each : {ids, ids.cuda()}) {
        const Result gpu = run(input.cuda(), each);
        EXPECT_TRUE(gpu.output.cpu().equal(cpu.output)) << c10::toString(type) << ", " << elements;
        EXPECT_TRUE(gpu.gradient.cpu().equal(cpu.gradient)) << c10::toString(type) << ", " << elements;
      }
    }
}

TEST(DropoutGpuTest, NeverWaitsForTheDevice) {
  const at::Tensor input = nn::random_normal({8, 300}, 1, at::kFloat).cuda(),
                   ids = at::arange(8, at::kLong).cuda();
  run(input, ids);  // loads the kernels
  const NoSynchronisation guard;
  run(input, ids);
}

}  // namespace
}  // namespace bunchtrain::test
