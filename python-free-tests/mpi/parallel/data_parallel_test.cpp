// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/data_parallel.hpp"

#include <c10/core/AutogradState.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/utils.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "parallel_fixture.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::HasSubstr;

/// Both ways to sum: one collective, and buckets of a single parameter each.
class DataParallelTest : public ParallelTest, public testing::WithParamInterface<CollectivePlan> {
 protected:
  DataParallelOptions options() const {
    return {.plan = GetParam(), .bucket_bytes = GetParam() == CollectivePlan::buckets ? 8 : 0};
  }
  /// Like `net`, on this rank alone.
  std::shared_ptr<Mlp> reference_of(Mlp& net) const {
    auto reference = std::make_shared<Mlp>();
    copy_parameters(net, *reference);
    return reference;
  }

  std::shared_ptr<Mlp> net_ = [this] {
    torch::manual_seed(static_cast<std::uint64_t>(rank()));  // ranks start apart
    return std::make_shared<Mlp>();
  }();
};

TEST_P(DataParallelTest, StartsFromTheValuesOfRankZero) {
  DataParallel parallel(net_, communicator_, options());
  torch::manual_seed(0);
  Mlp expected;
  expect_same_parameters(*net_, expected, 0);
}

TEST_P(DataParallelTest, UnevenBatchesEqualTheUnionOnOneRank) {
  DataParallel parallel(net_, communicator_, options());
  optim::AdamW optimizer(parallel, {.learning_rate = 0.02});
  const auto reference = reference_of(*net_);
  DataParallel alone(reference, comm::Communicator::self());
  optim::AdamW reference_optimizer(alone, {.learning_rate = 0.02});
  const std::int64_t total = uneven_total();
  const Share share = uneven_share(rank());
  for (int step = 0; step < 5; ++step) {
    const std::int64_t first = step * total;
    parallel.backward(net_->loss(rows(first + share.begin, share.count)),
                      {.samples = share.count, .global_samples = total});
    alone.backward(reference->loss(rows(first, total)));
    expect_same_gradients(*net_, *reference);
    optimizer.step({.clip_norm = 0.1});
    reference_optimizer.step({.clip_norm = 0.1});
  }
  expect_same_parameters(*net_, *reference);
  EXPECT_TRUE(same_on_all_ranks(parallel.arenas()[0].values()));
}

TEST_P(DataParallelTest, EvenBatchesNeedNoCounts) {
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  parallel.backward(net_->loss(rows(4 * rank(), 4)), {.samples = 4});
  reference->loss(rows(0, 4 * world())).backward();
  expect_same_gradients(*net_, *reference);
}

/// Gradients are summed before they are looked at: all ranks leave the step out and scale alike.
TEST_P(DataParallelTest, WhatOneRankLosesIsLeftOutByAll) {
  DataParallel parallel(net_, communicator_, options());
  optim::AdamW optimizer(parallel, {.learning_rate = 0.02});
  optimizer.scale_losses({.initial = 1024});
  parallel.scale_losses_by(optimizer.loss_scale());
  const auto reference = reference_of(*net_);
  const bool lost = rank() == world() - 1;
  parallel.backward(net_->loss(rows(4 * rank(), 4)) / (lost ? 0 : 1), {.samples = 4});
  EXPECT_FALSE(optimizer.step().applied());
  expect_same_parameters(*net_, *reference, 0);
  EXPECT_EQ(optimizer.loss_scale().item<double>(), 512);
  parallel.backward(net_->loss(rows(4 * rank(), 4)), {.samples = 4});
  EXPECT_TRUE(optimizer.step().applied());
  EXPECT_TRUE(same_on_all_ranks(parallel.arenas()[0].values()));
  EXPECT_EQ(optimizer.loss_scale().item<double>(), 512);
}

/// On a GPU autograd would run the hooks on a thread of its own, which must not communicate.
TEST_P(DataParallelTest, BackwardOfAPassStaysInItsThread) {
  const auto may_leave = [] { return c10::AutogradState::get_tls_state().get_multithreading_enabled(); };
  DataParallel parallel(net_, communicator_, options());
  ASSERT_TRUE(may_leave());
  bool left = true;
  at::Tensor loss = net_->loss(rows(0, 4));
  loss.register_hook([&](const at::Tensor&) { left = may_leave(); });
  parallel.backward(loss, {.samples = 4});
  EXPECT_FALSE(left);
  EXPECT_TRUE(may_leave());

  parallel.begin_pass({.samples = 4});
  EXPECT_FALSE(may_leave());
  net_->loss(rows(0, 4)).backward();
  parallel.finish();
  EXPECT_TRUE(may_leave());
  EXPECT_THROW(parallel.backward(at::ones({2}), {.samples = 4}), std::exception);
  EXPECT_TRUE(may_leave()) << "after a failed pass";
}

TEST_P(DataParallelTest, RankWithoutSamplesTakesPart) {
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  const std::int64_t least = world() == 1 ? 1 : 0;
  const Share share = uneven_share(rank(), least);
  const at::Tensor loss = share.count > 0 ? net_->loss(rows(share.begin, share.count)) : at::Tensor();
  parallel.backward(loss, {.samples = share.count, .global_samples = uneven_total(least)});
  reference->loss(rows(0, uneven_total(least))).backward();
  expect_same_gradients(*net_, *reference);
}

TEST_P(DataParallelTest, NotANumberOfARankWithoutSamplesStaysThere) {
  DataParallel parallel(net_, communicator_, options());
  const bool idle = rank() == 0 && world() > 1;
  const at::Tensor loss = net_->loss(rows(0, idle ? 0 : 2));
  EXPECT_EQ(std::isnan(loss.item<double>()), idle);
  const std::int64_t total = 2 * std::max(1, world() - 1);
  parallel.backward(loss, {.samples = idle ? 0 : 2, .global_samples = total});
  EXPECT_TRUE(net_->first->weight.grad().isfinite().all().item<bool>());
}

TEST_P(DataParallelTest, AccumulationEqualsTheUnionOfAllPasses) {
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  constexpr int kPasses = 3;
  const std::int64_t total = uneven_total();
  const Share share = uneven_share(rank());
  for (int step = 0; step < 2; ++step) {
    for (int pass = 0; pass < kPasses; ++pass) {
      parallel.backward(net_->loss(rows(pass * total + share.begin, share.count)),
                        {.samples = share.count,
                         .global_samples = kPasses * total,
                         .last = pass == kPasses - 1,
                         .zero_first = pass == 0});
    }
  }
  reference->loss(rows(0, kPasses * total)).backward();
  expect_same_gradients(*net_, *reference);
}

TEST_P(DataParallelTest, SeveralLossesInOnePass) {
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  parallel.begin_pass({.samples = 2});
  (net_->loss(rows(2 * rank(), 2)) * parallel.root_gradient()).backward();
  (net_->forward(rows(2 * rank(), 2)).abs().mean() * parallel.root_gradient()).backward();
  parallel.finish();
  (reference->loss(rows(0, 2 * world())) + reference->forward(rows(0, 2 * world())).abs().mean()).backward();
  expect_same_gradients(*net_, *reference);
}

TEST_P(DataParallelTest, FrozenParametersHaveNoGradientAndThaw) {
  net_->second->weight.set_requires_grad(false);
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  parallel.backward(net_->loss(rows(rank(), 1)));
  EXPECT_FALSE(net_->second->weight.grad().defined());
  net_->second->weight.set_requires_grad(true);
  parallel.backward(net_->loss(rows(rank(), 1)));
  reference->loss(rows(0, world())).backward();
  expect_same_gradients(*net_, *reference);
}

TEST_P(DataParallelTest, ParameterUsedByOneRankOnly) {
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  at::Tensor loss = net_->loss(rows(rank(), 1));
  if (rank() == 0) loss = loss + net_->unused.square().mean();
  parallel.backward(loss);
  (reference->loss(rows(0, world())) + reference->unused.square().mean() / world()).backward();
  expect_same_gradients(*net_, *reference);
}

/// One matrix registered under two names.
struct TiedNet : torch::nn::Module {
  TiedNet() {
    shared = register_parameter("encoder", rows(0, 5) * 0.3);
    register_parameter("decoder", shared);
  }
  at::Tensor loss(const at::Tensor& input) { return input.mm(shared).tanh().mm(shared.t()).square().mean(); }
  at::Tensor shared;
};

TEST_P(DataParallelTest, SharedParameterIsSummedOnce) {
  const auto tied = std::make_shared<TiedNet>();
  DataParallel parallel(tied, communicator_, options());
  TiedNet reference;
  parallel.backward(tied->loss(rows(rank(), 1)));
  reference.loss(rows(0, world())).backward();
  EXPECT_EQ(parallel.arenas()[0].segments().size(), 1u);
  expect_close(tied->shared.grad(), reference.shared.grad());
}

TEST_P(DataParallelTest, LibTorchOptimizersWork) {
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  const auto sgd_options = torch::optim::SGDOptions(0.1).momentum(0.9);
  torch::optim::SGD optimizer(net_->parameters(), sgd_options);
  torch::optim::SGD reference_optimizer(reference->parameters(), sgd_options);
  for (int step = 0; step < 4; ++step) {
    optimizer.zero_grad();
    reference_optimizer.zero_grad();
    parallel.backward(net_->loss(rows(step + rank(), 1)));
    reference->loss(rows(step, world())).backward();
    optimizer.step();
    reference_optimizer.step();
  }
  expect_same_parameters(*net_, *reference);
}

// Two networks as in a GAN: the second one's loss runs backward through the first, which
// must not communicate then.
TEST_P(DataParallelTest, AnotherNetworksBackwardCommunicatesNothing) {
  const auto critic = std::make_shared<torch::nn::LinearImpl>(3, 1);
  critic->to(torch::kFloat64);
  DataParallel generator_parallel(net_, communicator_, options());
  DataParallel critic_parallel(critic, communicator_, options());
  const auto reference = reference_of(*net_);
  torch::nn::Linear critic_reference(3, 1);
  critic_reference->to(torch::kFloat64);
  copy_parameters(*critic, *critic_reference);

  generator_parallel.begin_pass();
  critic_parallel.begin_pass({.global_samples = world(), .last = false});
  (critic->forward(net_->forward(rows(rank(), 1))).square().mean() * generator_parallel.root_gradient())
      .backward();
  critic_parallel.finish();
  const at::Tensor local = critic->weight.grad().clone();
  generator_parallel.finish();
  EXPECT_TRUE(critic->weight.grad().equal(local));

  critic_reference->forward(reference->forward(rows(0, world()))).square().mean().backward();
  expect_same_gradients(*net_, *reference);

  critic_parallel.backward(critic->forward(net_->forward(rows(rank(), 1)).detach()).square().mean());
  expect_close(critic->weight.grad(), critic_reference->weight.grad());
}

TEST_P(DataParallelTest, CreateGraphAndZeroGradAndDtypeRoundTripStillSum) {
  DataParallel parallel(net_, communicator_, options());
  const auto reference = reference_of(*net_);
  reference->loss(rows(0, world())).backward();
  net_->zero_grad();
  parallel.backward(net_->loss(rows(rank(), 1)));
  expect_same_gradients(*net_, *reference);

  net_->to(torch::kFloat32);
  net_->to(torch::kFloat64);
  copy_parameters(*reference, *net_);  // the round trip lost bits
  parallel.backward(net_->loss(rows(rank(), 1)));
  expect_same_gradients(*net_, *reference);

  parallel.begin_pass();
  (net_->loss(rows(rank(), 1)) * parallel.root_gradient()).backward({}, true, /*create_graph=*/true);
  parallel.finish();
  expect_same_gradients(*net_, *reference);
}

TEST_P(DataParallelTest, TwoRunsAgreeToTheBit) {
  std::vector<at::Tensor> results;
  for (int run = 0; run < 2; ++run) {
    torch::manual_seed(5);
    const auto net = std::make_shared<Mlp>();
    DataParallel parallel(net, communicator_, options());
    optim::AdamW optimizer(parallel, {.learning_rate = 0.02});
    for (int step = 0; step < 4; ++step) {
      parallel.backward(net->loss(rows(step * world() + rank(), 1)));
      optimizer.step({.clip_norm = 1});
    }
    results.push_back(parallel.arenas()[0].values().clone());
  }
  EXPECT_TRUE(results[0].equal(results[1]));
}

TEST_P(DataParallelTest, ReportsItsPlanAndTheTimeSpent) {
  DataParallel parallel(net_, communicator_, options());
  parallel.backward(net_->loss(rows(rank(), 1)));
  if (world() == 1) {
    EXPECT_THAT(parallel.describe(), HasSubstr("one rank"));
    return;
  }
  EXPECT_GT(parallel.exposed_seconds(), 0);
  const auto* expected = GetParam() == CollectivePlan::buckets ? "during backward" : "one all-reduce";
  EXPECT_THAT(parallel.describe(), HasSubstr(expected));
}

INSTANTIATE_TEST_SUITE_P(Plans, DataParallelTest,
                         testing::Values(CollectivePlan::after_backward, CollectivePlan::buckets),
                         [](const auto& info) {
                           return info.param == CollectivePlan::buckets ? "Buckets" : "AfterBackward";
                         });

}  // namespace
}  // namespace bunchtrain::parallel
