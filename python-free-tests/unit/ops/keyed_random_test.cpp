// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/keyed_random.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops {
namespace {

using Draw = at::Tensor (*)(const RandomKey&, const at::Tensor&, std::int64_t);

class KeyedRandomTest : public testing::TestWithParam<Draw> {
 protected:
  static at::Tensor draw(std::uint64_t seed, std::int64_t step, std::vector<std::int64_t> ids,
                         std::uint64_t site = 3) {
    return GetParam()({seed, step, site}, at::tensor(ids, at::kLong), 50);
  }
};

TEST_P(KeyedRandomTest, RowsBelongToTheirSamples) {
  const at::Tensor batch = draw(1, 5, {10, 20, 30});
  EXPECT_EQ(batch.sizes(), (std::vector<std::int64_t>{3, 50}));
  EXPECT_EQ(batch.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(batch[1], draw(1, 5, {20})[0])) << "another batch, as on another rank";
  EXPECT_TRUE(at::equal(batch.flip({0}), draw(1, 5, {30, 20, 10}))) << "another order";
  EXPECT_FALSE(at::equal(batch[0], batch[1]));
}

TEST_P(KeyedRandomTest, SeedStepAndSiteAreIndependent) {
  const at::Tensor numbers = draw(1, 5, {10, 20, 30});
  EXPECT_FALSE(at::equal(numbers, draw(2, 5, {10, 20, 30})));
  EXPECT_FALSE(at::equal(numbers, draw(1, 6, {10, 20, 30})));
  EXPECT_FALSE(at::equal(numbers, draw(1, 5, {10, 20, 30}, 4)));
}

TEST_P(KeyedRandomTest, FewerColumnsAreTheFirstOfMore) {
  const RandomKey key{.seed = 1, .step = 2};
  const at::Tensor ids = at::tensor({7}, at::kLong);
  EXPECT_TRUE(at::equal(GetParam()(key, ids, 10), GetParam()(key, ids, 20).slice(1, 0, 10)));
}

/// The CPU, which replays nothing, reads the number in the key.
TEST_P(KeyedRandomTest, AStepInMemoryChangesNothing) {
  const at::Tensor ids = at::tensor({10, 20}, at::kLong);
  const RandomKey key{.seed = 1, .step = 5, .site = 3, .step_in_memory = at::full({1}, 5, at::kLong)};
  EXPECT_TRUE(at::equal(GetParam()(key, ids, 50), draw(1, 5, {10, 20})));
  RandomKey bad = key;
  for (const at::Tensor& step : {at::full({2}, 5, at::kLong), at::full({1}, 5, at::kInt)}) {
    bad.step_in_memory = step;
    EXPECT_THAT([&] { GetParam()(bad, ids, 50); },
                testing::ThrowsMessage<ConfigError>(testing::HasSubstr("one int64 number")));
  }
}

TEST_P(KeyedRandomTest, EmptyBatch) { EXPECT_EQ(draw(1, 5, {}).sizes(), (std::vector<std::int64_t>{0, 50})); }

INSTANTIATE_TEST_SUITE_P(Distributions, KeyedRandomTest, testing::Values(&keyed_normal, &keyed_uniform),
                         [](const auto& info) {
                           return std::string(info.param == &keyed_normal ? "normal" : "uniform");
                         });

TEST(KeyedRandomMomentsTest, AreThoseOfTheDistributions) {
  const RandomKey key{.seed = 4};
  const at::Tensor ids = at::arange(1000, at::kLong);
  const at::Tensor normal = keyed_normal(key, ids, 200).to(at::kDouble);
  EXPECT_NEAR(normal.mean().item<double>(), 0, 0.01);  // 200,000 numbers: one sigma is 0.0022
  EXPECT_NEAR(normal.square().mean().item<double>(), 1, 0.02);
  EXPECT_NEAR(normal.pow(4).mean().item<double>(), 3, 0.1);
  const at::Tensor uniform = keyed_uniform(key, ids, 200).to(at::kDouble);
  EXPECT_NEAR(uniform.mean().item<double>(), 0.5, 0.003);
  EXPECT_NEAR(uniform.sub(0.5).square().mean().item<double>(), 1.0 / 12, 0.001);
  EXPECT_GE(uniform.min().item<double>(), 0);
  EXPECT_LE(uniform.max().item<double>(), 1);
}

}  // namespace
}  // namespace bunchtrain::ops
