// SPDX-License-Identifier: Apache-2.0
// The layer keys its numbers on a GPU as on the CPU.
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "bunchtrain/nn/dropout.hpp"

namespace bunchtrain::test {
namespace {

TEST(DropoutGpuTest, WithoutAContextCountsItsCallsAsTheCpuDoes) {
  nn::Dropout cpu(nn::DropoutOptions{.probability = 0.5}), gpu(nn::DropoutOptions{.probability = 0.5});
  const at::Tensor input = at::ones({4, 500});
  for (int call = 0; call < 3; ++call)
    EXPECT_TRUE(gpu->forward(input.cuda()).cpu().equal(cpu->forward(input))) << call;
}

}  // namespace
}  // namespace bunchtrain::test
