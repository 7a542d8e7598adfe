// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/keyed_random.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "bunchtrain/ops/keyed_random.hpp"

namespace bunchtrain::nn {
namespace {

TEST(KeyedRandomTest, IsKeyedByTheContextAndTheSite) {
  const at::Tensor ids = at::tensor({10, 20, 30}, at::kLong);
  const StepContext context(1, 5, ids);
  const ops::RandomKey key{.seed = 1, .step = 5, .site = 3};
  EXPECT_TRUE(at::equal(keyed_normal(context, 3, 50), ops::keyed_normal(key, ids, 50)));
  EXPECT_TRUE(at::equal(keyed_uniform(context, 3, 50), ops::keyed_uniform(key, ids, 50)));
}

}  // namespace
}  // namespace bunchtrain::nn
