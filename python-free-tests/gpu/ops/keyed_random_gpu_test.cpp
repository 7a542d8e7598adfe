// SPDX-License-Identifier: Apache-2.0
// Random numbers that a GPU draws are those of the CPU.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "bunchtrain/ops/keyed_random.hpp"
#include "gpu/nn/no_synchronisation.hpp"

namespace bunchtrain::test {
namespace {

TEST(KeyedRandomGpuTest, DrawsTheNumbersOfTheCpu) {
  const at::Tensor ids = at::arange(100, at::kLong).mul(12345);
  const ops::RandomKey key{.seed = 3, .step = 17, .site = 2};
  const at::Tensor uniform = ops::keyed_uniform(key, ids.cuda(), 300),
                   normal = ops::keyed_normal(key, ids.cuda(), 300);
  EXPECT_TRUE(uniform.cpu().equal(ops::keyed_uniform(key, ids, 300)));
  const at::Tensor expected = ops::keyed_normal(key, ids, 300);
  const double ulps = normal.cpu().sub(expected).div(expected).abs().max().item<double>() / 0x1p-23;
  EXPECT_LE(ulps, 1);
}

TEST(KeyedRandomGpuTest, NeverWaitsForTheDevice) {
  const ops::RandomKey key{.seed = 3, .step = 17};
  const at::Tensor ids = at::arange(100, at::kLong).cuda();
  ops::keyed_normal(key, ids, 10);  // loads the kernel
  const NoSynchronisation guard;
  ops::keyed_normal(key, ids, 10);
}

}  // namespace
}  // namespace bunchtrain::test
