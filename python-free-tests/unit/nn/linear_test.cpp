// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/linear.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {
namespace {

TEST(LinearTest, MultipliesAndAdds) {
  Linear linear(LinearOptions{.in = 2, .out = 1});
  const c10::NoGradGuard no_grad;
  linear->weight.copy_(at::tensor({2.0, 3.0}).reshape({1, 2}));
  linear->bias.fill_(1.0);
  EXPECT_TRUE(at::equal(linear->forward(at::tensor({10.0F, 100.0F}).reshape({1, 2})),
                        at::tensor({321.0F}).reshape({1, 1})));
}

TEST(LinearTest, RefusesNoChannels) { EXPECT_THROW(Linear(LinearOptions{.in = 0, .out = 1}), ConfigError); }

}  // namespace
}  // namespace bunchtrain::nn
