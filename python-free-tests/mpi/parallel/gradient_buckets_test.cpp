// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/gradient_buckets.hpp"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "parallel_fixture.hpp"

namespace bunchtrain::parallel {
namespace {

/// Three parameters of 16 elements, one bucket each; backward of `chain` makes their gradients in the order
/// a, b, c.
class GradientBucketsTest : public ParallelTest {
 protected:
  at::Tensor chain() { return (((c_ + 1) * b_ + 1) * a_).sum(); }
  void begin() {
    for (auto& arena : arenas_) {
      arena.begin_pass();
      arena.zero_gradients();
    }
  }

  at::Tensor a_ = at::ones({16}).requires_grad_();
  at::Tensor b_ = at::ones({16}).requires_grad_();
  at::Tensor c_ = at::ones({16}).requires_grad_();
  tensor::ParameterArenas arenas_ = tensor::create_arenas({{"a", a_}, {"b", b_}, {"c", c_}});
  GradientBuckets buckets_{arenas_, communicator_, 64};
};

TEST_F(GradientBucketsTest, InertUnlessArmed) {
  begin();
  chain().backward();
  EXPECT_EQ(a_.grad()[0].item<float>(), 3);
  EXPECT_EQ(buckets_.started_early(), 0u);
  EXPECT_EQ(buckets_.exposed().value(), 0);
}

TEST_F(GradientBucketsTest, StartsDuringBackwardAndSums) {
  begin();
  buckets_.arm(/*overlap=*/true);
  chain().backward();
  EXPECT_EQ(buckets_.started_early(), 3u);
  buckets_.finish();
  EXPECT_EQ(a_.grad()[0].item<float>(), 3 * world());
  EXPECT_EQ(b_.grad()[0].item<float>(), 2 * world());
  EXPECT_EQ(c_.grad()[0].item<float>(), 1 * world());
}

TEST_F(GradientBucketsTest, WithoutOverlapEverythingStartsInFinish) {
  begin();
  buckets_.arm(/*overlap=*/false);
  chain().backward();
  EXPECT_EQ(buckets_.started_early(), 0u);
  buckets_.finish();
  EXPECT_EQ(a_.grad()[0].item<float>(), 3 * world());
}

// Checked mode of the communicator would show another order on another rank as a mismatch of sizes or a hang.
TEST_F(GradientBucketsTest, RanksWithDifferentGraphsIssueInOneOrder) {
  begin();
  buckets_.arm(/*overlap=*/true);
  if (rank() % 2 == 0) {
    chain().backward();
  } else {
    (((a_ + 1) * b_ + 1) * c_).sum().backward();  // the other way round: nothing is ready before the end
  }
  buckets_.finish();
  const int even = (world() + 1) / 2;
  const int odd = world() / 2;
  EXPECT_EQ(a_.grad()[0].item<float>(), 3 * even + odd);
  EXPECT_EQ(c_.grad()[0].item<float>(), even + 3 * odd);
}

TEST_F(GradientBucketsTest, AnUnusedParameterDelaysButDoesNotStop) {
  begin();
  buckets_.arm(/*overlap=*/true);
  ((c_ + 1) * b_).sum().backward();
  EXPECT_EQ(buckets_.started_early(), 0u);
  buckets_.finish();
  EXPECT_EQ(a_.grad()[0].item<float>(), 0);
  EXPECT_EQ(b_.grad()[0].item<float>(), 2 * world());
}

TEST_F(GradientBucketsTest, AFrozenParameterIsNotWaitedFor) {
  a_.set_requires_grad(false);
  begin();
  buckets_.arm(/*overlap=*/true);
  chain().backward();
  EXPECT_EQ(buckets_.started_early(), 3u);
  buckets_.finish();
  EXPECT_EQ(b_.grad()[0].item<float>(), 2 * world());
}

TEST_F(GradientBucketsTest, ASecondBackwardInAnOverlappedPassIsRefused) {
  begin();
  buckets_.arm(/*overlap=*/true);
  chain().backward();
  try {
    chain().backward();
    ADD_FAILURE() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("begin_pass"));
  }
  buckets_.disarm();
  buckets_.drain();
  begin();
  buckets_.arm(/*overlap=*/true);
  chain().backward();
  buckets_.finish();
  EXPECT_EQ(a_.grad()[0].item<float>(), 3 * world());
}

TEST_F(GradientBucketsTest, CreatedGraphsAreSummedToo) {
  begin();
  buckets_.arm(/*overlap=*/true);
  chain().backward({}, true, /*create_graph=*/true);
  buckets_.finish();
  for (auto& arena : arenas_) arena.end_pass();
  EXPECT_EQ(a_.grad()[0].item<float>(), 3 * world());
}

}  // namespace
}  // namespace bunchtrain::parallel
