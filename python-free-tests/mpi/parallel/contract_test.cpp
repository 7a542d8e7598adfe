// SPDX-License-Identifier: Apache-2.0
// What the ranks must agree on is checked, and all of them get the same error.

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "bunchtrain/core/error.hpp"
#include "data/step_ledger.hpp"
#include "parallel_fixture.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::HasSubstr;

class ContractTest : public ParallelTest {
 protected:
  void SetUp() override { parallel_.emplace(net_, communicator_, DataParallelOptions{}); }

  at::Tensor loss() { return net_->loss(rows(rank(), 1)); }
  /// After an error, too, the next step is an ordinary one.
  void expect_plain_step() {
    Mlp reference;
    copy_parameters(*net_, reference);
    parallel_->backward(loss());
    reference.loss(rows(0, world())).backward();
    expect_same_gradients(*net_, reference);
  }

  std::shared_ptr<Mlp> net_ = std::make_shared<Mlp>();
  std::optional<DataParallel> parallel_;
};

TEST_F(ContractTest, SamplesThatDoNotAddUpAreAnErrorOnAllRanks) {
  const std::int64_t wrong = world() + 5;
  const std::string message =
      refusal([&] { parallel_->backward(loss(), {.samples = 1, .global_samples = wrong}); });
  if (world() == 1) {
    EXPECT_EQ(message, "no error");  // nothing is summed: the root gradient is as asked
    return;
  }
  EXPECT_THAT(message, HasSubstr("add up to " + std::to_string(world())));
  EXPECT_THAT(message, HasSubstr("says " + std::to_string(wrong)));
}

/// As on a GPU, where the sums are looked at when they have arrived.
TEST_F(ContractTest, CountsAreCheckedOnceAgainstThoseOfTheirOwnStep) {
  constexpr int kRanks = 2;
  StepLedger ledger(kRanks, at::kCPU);
  at::Tensor footer = at::zeros({tensor::ParameterArena::kFooterElements});
  const auto enqueue = [&](const PassOptions& counts) {
    ledger.add(counts);
    ledger.upload(parallel_->arenas());
    ledger.write_footer(footer);
    footer.mul_(kRanks);  // the sum over ranks that agree
    ledger.take_footer(footer);
  };
  EXPECT_NO_THROW(ledger.check_footer()) << "nothing was taken";
  enqueue({.samples = 3, .global_samples = 6});
  ledger.add({.samples = 1, .global_samples = 100});
  footer.fill_(-1);
  EXPECT_NO_THROW(ledger.check_footer());
  enqueue({.samples = 3, .global_samples = 7});
  ledger.add({.samples = 1, .global_samples = 2});
  EXPECT_THAT(refusal([&] { ledger.check_footer(); }), HasSubstr("add up to 6, global_samples says 7"));
  EXPECT_NO_THROW(ledger.check_footer()) << "checked once";
}

/// A backward that begins with a captured root gradient begins with that of the pass uploaded last.
TEST_F(ContractTest, RootGradientsAndFootersAreReadFromMemory) {
  StepLedger ledger(2, at::kCPU);
  const at::Tensor loss = at::zeros({}, at::kFloat), in_double = at::zeros({}, at::kDouble);
  at::Tensor footer = at::zeros({tensor::ParameterArena::kFooterElements}, at::kDouble);
  for (const std::int64_t samples : {1, 2, 3}) {
    ledger.add({.samples = samples, .global_samples = 7});
    ledger.upload(parallel_->arenas());
    ledger.write_footer(footer);
    EXPECT_EQ(footer[0].item<double>(), static_cast<double>(samples));
    EXPECT_EQ(ledger.root_gradient_like(loss).item<float>(), static_cast<float>(samples / 7.0));
    EXPECT_EQ(ledger.root_gradient_like(in_double).item<double>(), samples / 7.0);
  }
  ledger.root_gradient_like(in_double).mul_(5);
  EXPECT_EQ(ledger.root_gradient_like(in_double).item<double>(), 3 / 7.0) << "a tensor of its own";
}

TEST_F(ContractTest, RanksThatDisagreeAboutTheGlobalCountAllThrow) {
  if (world() == 1) return expect_plain_step();
  const std::int64_t own_idea = world() + (rank() == world() - 1 ? 1 : 0);
  EXPECT_THAT(refusal([&] { parallel_->backward(loss(), {.samples = 1, .global_samples = own_idea}); }),
              HasSubstr("disagree"));
  expect_plain_step();
}

TEST_F(ContractTest, UnevenBatchesWithoutAGlobalCountAllThrow) {
  if (world() == 1) return expect_plain_step();
  EXPECT_THAT(refusal([&] { parallel_->backward(loss(), {.samples = rank() + 1}); }), HasSubstr("disagree"));
  expect_plain_step();
}

TEST_F(ContractTest, ParametersFrozenOnOneRankOnlyAllThrow) {
  if (world() == 1) return expect_plain_step();
  if (rank() == 0) net_->second->weight.set_requires_grad(false);
  EXPECT_THAT(refusal([&] { parallel_->backward(loss()); }), HasSubstr("frozen"));
  net_->second->weight.set_requires_grad(true);
  expect_plain_step();
}

TEST_F(ContractTest, DifferentNetworksAllThrow) {
  const auto other = std::make_shared<torch::nn::LinearImpl>(4, rank() == world() - 1 ? 3 : 2);
  const std::string message = refusal([&] { DataParallel(other, communicator_); });
  if (world() == 1) {
    EXPECT_EQ(message, "no error");
    return;
  }
  EXPECT_THAT(message, testing::AllOf(HasSubstr("different networks"), HasSubstr("weight [2, 4]"),
                                      HasSubstr("weight [3, 4]")));
}

TEST_F(ContractTest, SeveralPassesNeedTheGlobalCount) {
  EXPECT_THAT(refusal([&] { parallel_->backward(loss(), {.last = false}); }), HasSubstr("global_samples"));
  EXPECT_THAT(refusal([&] {
                parallel_->backward(loss(), {.samples = 1, .global_samples = 4, .last = false});
                parallel_->backward(loss(), {.samples = 1, .global_samples = 6, .zero_first = false});
              }),
              HasSubstr("4 in the first"));
}

}  // namespace
}  // namespace bunchtrain::parallel
