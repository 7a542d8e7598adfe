// SPDX-License-Identifier: Apache-2.0
// Batch norm over ranks: combined buffers and synchronised statistics.

#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>

#include <limits>

#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "parallel_fixture.hpp"

namespace bunchtrain::parallel {
namespace {

/// A parameter, two floating buffers of different dtypes, a counter.
struct Buffered : torch::nn::Module {
  Buffered() {
    weight = register_parameter("weight", at::full({2}, 1.0));
    mean = register_buffer("mean", at::full({2, 3}, 0.0));
    scale = register_buffer("scale", at::full({1}, 0.0, at::kDouble));
    batches = register_buffer("batches", at::full({}, 0, at::kLong));
  }
  at::Tensor weight, mean, scale, batches;
};

class BuffersTest : public ParallelTest {};

TEST_F(BuffersTest, FloatingOnesAreWeightedWithSamplesIntegersAreMaxima) {
  const auto module = std::make_shared<Buffered>();
  DataParallel parallel(module, communicator_);
  module->mean.fill_(rank());
  module->scale.fill_(10.0 * rank());
  module->batches.fill_(100 - rank());
  parallel.synchronize_buffers(rank() + 1);
  double weighted = 0;
  double total = 0;
  for (int r = 0; r < world(); ++r) {
    weighted += r * (r + 1.0);
    total += r + 1.0;
  }
  expect_close(module->mean, at::full({2, 3}, weighted / total), 1e-7);
  expect_close(module->scale, at::full({1}, 10 * weighted / total, at::kDouble));
  EXPECT_EQ(module->batches.item<std::int64_t>(), 100);
  EXPECT_TRUE(same_on_all_ranks(module->mean));
}

TEST_F(BuffersTest, ARankWithoutSamplesContributesNothing) {
  const auto module = std::make_shared<Buffered>();
  DataParallel parallel(module, communicator_);
  const bool idle = rank() == 0 && world() > 1;
  module->mean.fill_(idle ? std::numeric_limits<float>::quiet_NaN() : 7);
  parallel.synchronize_buffers(idle ? 0 : 3);
  EXPECT_TRUE(module->mean.equal(at::full({2, 3}, 7.0)));
}

TEST_F(BuffersTest, NoSamplesAnywhereChangesNothing) {
  const auto module = std::make_shared<Buffered>();
  DataParallel parallel(module, communicator_);
  module->mean.fill_(rank());
  parallel.synchronize_buffers(0);
  EXPECT_TRUE(module->mean.equal(at::full({2, 3}, static_cast<double>(rank()))));
}

TEST_F(BuffersTest, BroadcastTakesParametersAndBuffersOfTheRoot) {
  const auto module = std::make_shared<Buffered>();
  DataParallel parallel(module, communicator_);
  {
    const at::NoGradGuard no_grad;
    module->weight.fill_(rank());
    module->batches.fill_(rank());
  }
  parallel.broadcast(world() - 1);
  EXPECT_EQ(module->weight.detach()[0].item<float>(), world() - 1);
  EXPECT_EQ(module->batches.item<std::int64_t>(), world() - 1);
}

/// linear - batch norm - linear in float64.
template <class Norm>
struct Normalised : torch::nn::Module {
  explicit Normalised(std::shared_ptr<Norm> batch_norm)
      : norm(register_module("norm", std::move(batch_norm))) {
    first = register_module("first", torch::nn::Linear(5, 4));
    last = register_module("last", torch::nn::Linear(4, 2));
    to(torch::kFloat64);
  }
  at::Tensor loss(const at::Tensor& input) {
    return last->forward(norm->forward(first->forward(input)).tanh()).square().mean();
  }
  std::shared_ptr<Norm> norm;
  torch::nn::Linear first{nullptr}, last{nullptr};
};

TEST_F(BuffersTest, SynchronisedBatchNormEqualsTheUnionOnOneRank) {
  const auto net = std::make_shared<Normalised<nn::BatchNormImpl>>(
      std::make_shared<nn::BatchNormImpl>(nn::BatchNormOptions{.channels = 4}));
  DataParallel parallel(net, communicator_, {.sync_batch_norm = true});
  optim::Sgd optimizer(parallel, {.learning_rate = 0.1});

  Normalised<torch::nn::BatchNorm1dImpl> reference(std::make_shared<torch::nn::BatchNorm1dImpl>(4));
  copy_parameters(*net, reference);
  const std::int64_t total = uneven_total(2);
  const Share share = uneven_share(rank(), 2);
  for (int step = 0; step < 3; ++step) {
    const std::int64_t first = step * total;
    parallel.backward(net->loss(rows(first + share.begin, share.count)),
                      {.samples = share.count, .global_samples = total});
    optimizer.step();
    reference.zero_grad();
    reference.loss(rows(first, total)).backward();
    const at::NoGradGuard no_grad;
    for (auto& parameter : reference.parameters()) parameter.sub_(parameter.grad(), 0.1);
  }
  expect_same_parameters(*net, reference, 1e-11);
  expect_close(net->norm->running_mean, reference.norm->running_mean, 1e-11);
  expect_close(net->norm->running_var, reference.norm->running_var, 1e-11);
}

}  // namespace
}  // namespace bunchtrain::parallel
