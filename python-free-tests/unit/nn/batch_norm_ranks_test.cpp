// SPDX-License-Identifier: Apache-2.0
// Synchronised batch norm: two threads play two ranks.
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <barrier>
#include <mutex>
#include <thread>

#include "bunchtrain/nn/batch_norm.hpp"
#include "random_tensors.hpp"

namespace bunchtrain::nn {
namespace {

/// Adds up what two threads bring.
class PairSum : public ops::StatisticsReducer {
 public:
  void all_reduce_sum(at::Tensor& statistics) override {
    {
      const std::lock_guard lock(mutex_);
      sum_ = sum_.defined() ? sum_.add(statistics) : statistics.clone();
    }
    barrier_.arrive_and_wait();
    statistics.copy_(sum_);
    barrier_.arrive_and_wait();
    {
      const std::lock_guard lock(mutex_);
      sum_ = at::Tensor();
    }
    barrier_.arrive_and_wait();
  }

 private:
  std::mutex mutex_;
  std::barrier<> barrier_{2};
  at::Tensor sum_;
};

TEST(BatchNormRanksTest, TwoRanksEqualTheUnionBatch) {
  constexpr std::int64_t kChannels = 5;
  // Uneven shares: 13 and 7 rows.
  const std::array inputs = {random_normal({13, kChannels}, 1), random_normal({7, kChannels}, 2).add(3.0)};
  const std::array probes = {random_normal({13, kChannels}, 3), random_normal({7, kChannels}, 4)};
  const auto reducer = std::make_shared<PairSum>();

  std::array<BatchNorm, 2> norms = {BatchNorm(BatchNormOptions{.channels = kChannels}),
                                    BatchNorm(BatchNormOptions{.channels = kChannels})};
  std::array<at::Tensor, 2> outputs, gradients;
  const auto rank = [&](std::size_t r) {
    norms[r]->to(at::kDouble);
    norms[r]->set_reducer(reducer);
    const at::Tensor x = inputs[r].clone().requires_grad_();
    outputs[r] = norms[r]->forward(x, std::nullopt, true);
    outputs[r].mul(probes[r]).sum().backward();
    gradients[r] = x.grad();
  };
  { const std::jthread first(rank, 0), second(rank, 1); }

  BatchNorm whole(BatchNormOptions{.channels = kChannels});
  whole->to(at::kDouble);
  const at::Tensor x = at::cat({inputs[0], inputs[1]}).requires_grad_();
  const at::Tensor y = whole->forward(x, std::nullopt, true);
  y.mul(at::cat({probes[0], probes[1]})).sum().backward();
  EXPECT_LT(relative_difference(at::cat({outputs[0], outputs[1]}), y), 1e-12);
  EXPECT_LT(relative_difference(at::cat({gradients[0], gradients[1]}), x.grad()), 1e-12);
  EXPECT_LT(relative_difference(norms[0]->weight.grad().add(norms[1]->weight.grad()), whole->weight.grad()),
            1e-12);
  EXPECT_LT(relative_difference(norms[0]->bias.grad().add(norms[1]->bias.grad()), whole->bias.grad()), 1e-12);
  for (const BatchNorm& norm : norms) {
    EXPECT_LT(relative_difference(norm->running_mean, whole->running_mean), 1e-12);
    EXPECT_LT(relative_difference(norm->running_var, whole->running_var), 1e-12);
  }
}

}  // namespace
}  // namespace bunchtrain::nn
