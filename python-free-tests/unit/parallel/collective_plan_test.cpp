// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/collective_plan.hpp"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/gradient_buckets.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::HasSubstr;

constexpr LinkFit kLink{.latency_seconds = 20e-6, .bytes_per_second = 2e9};
constexpr std::int64_t kMega = 1 << 20;

TEST(CollectivePlanTest, SmallGradientsGoInOneCollective) {
  const BucketPlan plan = make_plan(kLink, 1'500'000, CollectivePlan::automatic, 0);
  EXPECT_EQ(plan.kind, CollectivePlan::after_backward);
  EXPECT_EQ(plan.bucket_bytes, 0);
  EXPECT_EQ(plan.description, "one all-reduce of 1.5 MB after backward (latency 20 us, 2.00 GB/s)");
}

TEST(CollectivePlanTest, LargeGradientsAreCutAndFasterLinksCutLess) {
  const BucketPlan slow = make_plan(kLink, 120 * kMega, CollectivePlan::automatic, 0);
  const BucketPlan fast = make_plan({.latency_seconds = 200e-6, .bytes_per_second = 50e9}, 120 * kMega,
                                    CollectivePlan::automatic, 0);
  EXPECT_EQ(slow.kind, CollectivePlan::buckets);
  EXPECT_GE(slow.bucket_bytes, kMega);
  EXPECT_GT(fast.bucket_bytes, slow.bucket_bytes);
  EXPECT_LE(fast.bucket_bytes, 60 * kMega);
}

TEST(CollectivePlanTest, WishesAreObeyed) {
  EXPECT_EQ(make_plan({}, 120 * kMega, CollectivePlan::after_backward, 0).bucket_bytes, 0);
  const BucketPlan plan = make_plan({}, 1000, CollectivePlan::automatic, 64);
  EXPECT_EQ(plan.kind, CollectivePlan::buckets);
  EXPECT_EQ(plan.bucket_bytes, 64);
  EXPECT_THROW(make_plan({}, 1000, CollectivePlan::buckets, -1), ConfigError);
}

tensor::ParameterArenas arenas_of_sizes(const std::vector<std::int64_t>& sizes) {
  std::vector<tensor::NamedParameter> parameters;
  for (const auto size : sizes) {
    parameters.push_back({"p" + std::to_string(parameters.size()), at::ones({size}).requires_grad_()});
  }
  return tensor::create_arenas(std::move(parameters));
}

TEST(BucketsTest, CoverTheArenaWithoutGapsInOrder) {
  const auto arenas = arenas_of_sizes({100, 3, 1000, 50, 64, 7});
  for (const std::int64_t bytes : {0, 1, 64, 400, 4000, 1 << 20}) {
    const auto buckets = make_buckets(arenas, bytes);
    std::int64_t position = 0;
    std::size_t segment = 0;
    for (const Bucket& bucket : buckets) {
      EXPECT_EQ(bucket.begin, position);
      EXPECT_EQ(bucket.first_segment, segment);
      EXPECT_GT(bucket.last_segment, bucket.first_segment);
      position = bucket.end;
      segment = bucket.last_segment;
    }
    EXPECT_EQ(position, arenas[0].gradients_with_footer().numel()) << bytes;
    EXPECT_EQ(segment, arenas[0].segments().size()) << bytes;
  }
}

TEST(BucketsTest, SizesFollowTheWish) {
  const auto arenas = arenas_of_sizes({16, 16, 16, 16, 16, 16});
  EXPECT_EQ(make_buckets(arenas, 0).size(), 1u);
  EXPECT_EQ(make_buckets(arenas, 64).size(), 6u);
  EXPECT_EQ(make_buckets(arenas, 128).size(), 3u);
  EXPECT_EQ(make_buckets(arenas, 1 << 20).size(), 1u);
}

TEST(BucketsTest, EachArenaHasItsOwn) {
  const auto arenas = tensor::create_arenas(
      {{"single", at::ones({4}).requires_grad_()}, {"twofold", at::ones({4}, at::kDouble).requires_grad_()}});
  const auto buckets = make_buckets(arenas, 0);
  ASSERT_EQ(buckets.size(), 2u);
  EXPECT_EQ(buckets[1].arena, 1u);
}

}  // namespace
}  // namespace bunchtrain::parallel
