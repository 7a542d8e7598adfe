// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/step_context.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <thread>

namespace bunchtrain::nn {
namespace {

TEST(StepContextTest, NestsAndEnds) {
  EXPECT_EQ(StepContext::current(), nullptr);
  {
    const at::Tensor step = at::full({1}, 2, at::kLong);
    const StepContext outer(1, 2, at::ones({3}), step);
    EXPECT_TRUE(outer.step_in_memory().is_same(step));
    EXPECT_EQ(StepContext::current(), &outer);
    {
      const StepContext inner(4, 5, at::ones({6}));
      EXPECT_EQ(StepContext::current()->seed(), 4U);
      EXPECT_EQ(StepContext::current()->step(), 5);
      EXPECT_EQ(StepContext::current()->sample_ids().numel(), 6);
      EXPECT_FALSE(inner.step_in_memory().defined());
    }
    EXPECT_EQ(StepContext::current(), &outer);
  }
  EXPECT_EQ(StepContext::current(), nullptr);
}

TEST(StepContextTest, BelongsToItsThread) {
  const StepContext context(1, 2, at::ones({3}));
  const StepContext* elsewhere = &context;
  std::jthread([&] { elsewhere = StepContext::current(); }).join();
  EXPECT_EQ(elsewhere, nullptr);
}

}  // namespace
}  // namespace bunchtrain::nn
