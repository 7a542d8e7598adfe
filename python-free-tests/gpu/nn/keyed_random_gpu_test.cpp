// SPDX-License-Identifier: Apache-2.0
// Random numbers that a GPU draws are those of the CPU.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "bunchtrain/nn/keyed_random.hpp"
#include "no_synchronisation.hpp"

namespace bunchtrain::test {
namespace {

TEST(KeyedRandomGpuTest, DrawsTheNumbersOfTheCpu) {
  const at::Tensor ids = at::arange(100, at::kLong).mul(12345);
  const nn::StepContext cpu(3, 17, ids), gpu(3, 17, ids.cuda());
  const at::Tensor uniform = nn::keyed_uniform(gpu, 2, 300), normal = nn::keyed_normal(gpu, 2, 300);
  EXPECT_TRUE(uniform.cpu().equal(nn::keyed_uniform(cpu, 2, 300)));
  const at::Tensor expected = nn::keyed_normal(cpu, 2, 300);
  const double ulps = normal.cpu().sub(expected).div(expected).abs().max().item<double>() / 0x1p-23;
  EXPECT_LE(ulps, 1);
}

TEST(KeyedRandomGpuTest, NeverWaitsForTheDevice) {
  const nn::StepContext context(3, 17, at::arange(100, at::kLong).cuda());
  nn::keyed_normal(context, 0, 10);  // loads the kernel
  const NoSynchronisation guard;
  nn::keyed_normal(context, 0, 10);
}

}  // namespace
}  // namespace bunchtrain::test
