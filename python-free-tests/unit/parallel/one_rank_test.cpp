// SPDX-License-Identifier: Apache-2.0
// DataParallel in a world of one rank: a plain training loop, with the arena's guarantees.

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/linear.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"

namespace bunchtrain::parallel {
namespace {

class OneRankTest : public testing::Test {
 protected:
  at::Tensor loss() { return net_->forward(input_).square().mean(); }

  torch::nn::Linear net_{4, 3};
  at::Tensor input_ = at::rand({6, 4});
  DataParallel parallel_{net_, comm::Communicator::self()};
};

TEST_F(OneRankTest, BackwardLeavesTheGradientOfTheMean) {
  const auto expected = torch::autograd::grad({loss()}, {net_->weight});
  parallel_.backward(loss(), {.samples = 6});
  EXPECT_TRUE(net_->weight.grad().equal(expected[0]));
  EXPECT_THAT(parallel_.describe(), testing::HasSubstr("one rank"));
}

TEST_F(OneRankTest, PassesAccumulateToTheMean) {
  const auto expected = torch::autograd::grad({loss()}, {net_->weight});
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return net_->forward(input_.slice(0, begin, end)).square().mean();
  };
  parallel_.backward(part(0, 2), {.samples = 2, .global_samples = 6, .last = false});
  parallel_.backward(part(2, 6), {.samples = 4, .global_samples = 6, .zero_first = false});
  EXPECT_LE((net_->weight.grad() - expected[0]).abs().max().item<float>(), 1e-6);
}

TEST_F(OneRankTest, TrainingLoopOfTheReadme) {
  optim::Sgd optimizer(parallel_, {.learning_rate = 0.1});
  const float before = loss().item<float>();
  for (int step = 0; step < 20; ++step) {
    parallel_.backward(loss());
    optimizer.step();
  }
  EXPECT_LT(loss().item<float>(), 0.5F * before);
}

TEST_F(OneRankTest, MovesKeepTheArenas) {
  optim::Sgd optimizer(parallel_, {.learning_rate = 0.1});
  DataParallel moved = std::move(parallel_);
  const at::Tensor before = net_->weight.detach().clone();
  moved.backward(loss());
  optimizer.step();
  EXPECT_FALSE(net_->weight.equal(before));
}

TEST_F(OneRankTest, MisuseIsNamed) {
  EXPECT_THROW(parallel_.finish(), ConfigError);
  parallel_.begin_pass();
  EXPECT_THROW(parallel_.begin_pass(), ConfigError);
  parallel_.finish();
  EXPECT_THROW(parallel_.backward(loss(), {.samples = -1}), ConfigError);
  EXPECT_THROW(parallel_.backward(loss(), {.last = false}), ConfigError);
  EXPECT_THROW(parallel_.backward(loss(), {.samples = 0}), ConfigError);
  EXPECT_THROW(DataParallel(std::shared_ptr<torch::nn::Module>(), comm::Communicator::self()), ConfigError);
}

TEST_F(OneRankTest, LossesAreScaledByANumberOfTheDevice) {
  const auto expected = torch::autograd::grad({loss()}, {net_->weight});
  const at::Tensor scale = at::full({}, 1024, at::kDouble);
  parallel_.scale_losses_by(scale);
  parallel_.backward(loss());
  EXPECT_TRUE(net_->weight.grad().equal(expected[0] * 1024));
  scale.fill_(512);
  parallel_.backward(loss(), {.samples = 3, .global_samples = 6});
  EXPECT_TRUE(net_->weight.grad().equal(expected[0] * 256));
  EXPECT_THROW(parallel_.begin_pass(), ConfigError);
  EXPECT_THROW(parallel_.scale_losses_by({}), ConfigError);
  EXPECT_THROW(parallel_.scale_losses_by(at::full({2}, 1.0)), ConfigError);
}

/// Gradients of 1e-9 are zero in float16.
TEST_F(OneRankTest, SmallGradientsSurviveInFloat16IfLossesAreScaled) {
  const auto gradient_with = [&](bool scaled) {
    torch::nn::Linear net(4, 3);
    {
      const at::NoGradGuard no_grad;
      net->weight.copy_(net_->weight);
      net->bias.copy_(net_->bias);
    }
    DataParallel parallel(net, comm::Communicator::self());
    optim::Sgd optimizer(parallel, {.learning_rate = 1e9});
    if (scaled) {
      optimizer.scale_losses();
      parallel.scale_losses_by(optimizer.loss_scale());
    }
    const at::Tensor before = net->weight.detach().clone();
    const device::PrecisionGuard guard(device::Precision::float16, at::kCPU);
    parallel.backward(net->forward(input_).to(at::kFloat).square().mean() * 1e-9);
    optimizer.step();
    return before - net->weight.detach();
  };
  const auto expected = torch::autograd::grad({loss()}, {net_->weight});
  EXPECT_EQ(gradient_with(false).abs().max().item<float>(), 0);
  EXPECT_LT((gradient_with(true) - expected[0]).norm().item<float>(),
            0.01F * expected[0].norm().item<float>());
}

TEST_F(OneRankTest, AFailedBackwardDoesNotBlockTheNext) {
  const at::Tensor stale = loss();
  stale.backward();
  EXPECT_THROW(parallel_.backward(stale), c10::Error);  // its graph is gone
  EXPECT_NO_THROW(parallel_.backward(loss()));
}

}  // namespace
}  // namespace bunchtrain::parallel
