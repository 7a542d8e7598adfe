// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/dropout.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops {
namespace {

at::Tensor keys_of(const std::vector<std::int64_t>& ids, const RandomKey& key = {.seed = 5}) {
  return dropout_keys(key, at::tensor(ids, at::kLong), at::kCPU);
}

TEST(DropoutTest, ElementsAreIndependentOfTheirNeighbours) {
  constexpr std::int64_t kElements = 100'003;  // more than a thread's part, and no whole block at the end
  const at::Tensor kept = ops::dropout(at::ones({2, kElements}), keys_of({1, 2}), 0.5).ne(0).to(at::kDouble);
  const auto covariance = [](const at::Tensor& a, const at::Tensor& b) {
    return a.sub(0.5).mul(b.sub(0.5)).mean().item<double>();
  };
  EXPECT_NEAR(covariance(kept[0], kept[1]), 0, 0.004);  // one sigma is 0.0008
  for (const std::int64_t distance : {1, 2, 3, 8, 16, 31, 32, 64, 96, 128, 129, 4096, 16384, 65536}) {
    const at::Tensor row = kept[0];
    EXPECT_NEAR(covariance(row.slice(0, 0, kElements - distance), row.slice(0, distance)), 0, 0.005)
        << "elements " << distance << " apart";
  }
}

TEST(DropoutTest, TypesDropTheSameElements) {
  const auto drop = [](const at::Tensor& x) { return ops::dropout(x, keys_of({1, 2, 3}), 0.25); };
  const at::Tensor values = at::arange(1, 3 * 1001 + 1, at::kDouble).reshape({3, 7, 11, 13});
  const at::Tensor exact = drop(values);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor out = drop(values.to(type));
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_TRUE(at::equal(out.ne(0), exact.ne(0)));
    EXPECT_LT(out.to(at::kDouble).sub(exact).abs().div(values).max().item<double>(), 0.01);
  }
  EXPECT_TRUE(
      at::equal(exact.ne(0), drop(values.permute({0, 3, 1, 2}).contiguous().permute({0, 2, 3, 1})).ne(0)))
      << "strides of the input";
}

TEST(DropoutTest, NeverDropsAll) {
  const at::Tensor out = ops::dropout(at::ones({1, 1'000'000}), keys_of({0}, {}), 1 - 1e-9);
  EXPECT_NEAR(out.ne(0).sum().item<double>(), 1'000'000 / 65536.0, 20);
  EXPECT_FLOAT_EQ(out.max().item<float>(), 65536);
}

TEST(DropoutTest, TheGradientHasAGradient) {
  const at::Tensor x = at::ones({2, 50}).requires_grad_();
  const at::Tensor y = ops::dropout(x, keys_of({1, 2}, {.seed = 1}), 0.5);
  const at::Tensor gradient = torch::autograd::grad({y.pow(3).sum()}, {x}, {}, true, true)[0];
  gradient.sum().backward();  // y = f x: the first is 3 f^3 x^2, the second 6 f^3 x
  EXPECT_TRUE(at::allclose(x.grad(), 6 * y.detach().pow(3)));
}

TEST(DropoutTest, KeysDifferBySeedStepSampleAndSite) {
  const at::Tensor keys = keys_of({10, 20, 30}, {.seed = 1, .step = 5, .site = 2});
  EXPECT_TRUE(at::equal(keys.slice(0, 1, 2), keys_of({20}, {.seed = 1, .step = 5, .site = 2})));
  for (const RandomKey& other : {RandomKey{2, 5, 2}, RandomKey{1, 6, 2}, RandomKey{1, 5, 3}})
    EXPECT_FALSE(keys.eq(keys_of({10, 20, 30}, other)).any().item<bool>());
}

TEST(DropoutTest, TakesAnEmptyBatch) {
  EXPECT_EQ(ops::dropout(at::empty({0, 7}), keys_of({}), 0.5).sizes(), (std::vector<std::int64_t>{0, 7}));
  EXPECT_EQ(ops::dropout(at::empty({2, 0}), keys_of({1, 2}), 0.5).sizes(), (std::vector<std::int64_t>{2, 0}));
}

TEST(DropoutTest, RefusesWrongArguments) {
  const at::Tensor x = at::ones({2, 5}), keys = keys_of({1, 2});
  EXPECT_THROW(ops::dropout(x, keys, 1), ConfigError);
  EXPECT_THROW(ops::dropout(x, keys, -0.1), ConfigError);
  EXPECT_THROW(ops::dropout(x.to(at::kInt), keys, 0.5), ConfigError);
  EXPECT_THROW(ops::dropout(x, keys_of({1, 2, 3}), 0.5), ConfigError);
  EXPECT_THROW(ops::dropout(x, keys.to(at::kInt), 0.5), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::ops
