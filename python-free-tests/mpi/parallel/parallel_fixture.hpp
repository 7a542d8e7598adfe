// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks, batches and comparisons for tests of several ranks against one.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "mpi/comm/world.hpp"

namespace bunchtrain::parallel {

/// float64 network [5 -> 8 -> 8 -> 3] with one parameter that forward never uses.
struct Mlp : torch::nn::Module {
  Mlp() {
    first = register_module("first", torch::nn::Linear(5, 8));
    second = register_module("second", torch::nn::Linear(8, 8));
    third = register_module("third", torch::nn::Linear(8, 3));
    unused = register_parameter("unused", at::arange(3.0));
    to(torch::kFloat64);
  }
  at::Tensor forward(const at::Tensor& input) {
    return third->forward(second->forward(first->forward(input).tanh()).tanh());
  }
  at::Tensor loss(const at::Tensor& input) { return forward(input).square().mean(); }

  torch::nn::Linear first{nullptr}, second{nullptr}, third{nullptr};
  at::Tensor unused;
};

/// `count` rows of a table that all ranks know, from row `begin`.
inline at::Tensor rows(std::int64_t begin, std::int64_t count, std::int64_t columns = 5) {
  return (at::arange(begin * columns, (begin + count) * columns, at::kDouble) * 0.7)
      .sin()
      .view({count, columns});
}

/// The message of the ConfigError that `call` throws.
template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

/// Rows [begin, begin + count) of a global batch that belong to one rank.
struct Share {
  std::int64_t begin;
  std::int64_t count;
};

/// A fresh communicator for each test, closed at its end.
class ParallelTest : public testing::Test {
 protected:
  void TearDown() override { communicator_.close(); }

  int rank() const { return communicator_.rank(); }
  int world() const { return communicator_.size(); }
  /// Rank r takes r + `least` rows: uneven, and none for rank 0 if `least` is 0.
  Share uneven_share(int of_rank, std::int64_t least = 1) const {
    std::int64_t begin = 0;
    for (int r = 0; r < of_rank; ++r) begin += r + least;
    return {begin, of_rank + least};
  }
  std::int64_t uneven_total(std::int64_t least = 1) const { return uneven_share(world(), least).begin; }

  /// Every rank's copy of `tensor`, stacked.
  at::Tensor gathered(const at::Tensor& tensor) {
    const at::Tensor flat = tensor.detach().contiguous().view({-1});
    at::Tensor all = at::empty_like(flat).repeat({world()});
    communicator_.all_gather(all, flat).wait();
    return all.view({world(), -1});
  }
  bool same_on_all_ranks(const at::Tensor& tensor) {
    const at::Tensor all = gathered(tensor);
    return all.equal(all.slice(0, 0, 1).expand_as(all).contiguous());
  }

  comm::Communicator communicator_ = comm::Communicator::create(
      test_world(), c10::kCPU, {.timeout = std::chrono::seconds(20), .checked = true});
};

inline void copy_parameters(torch::nn::Module& from, torch::nn::Module& to) {
  const at::NoGradGuard no_grad;
  const auto source = from.parameters();
  auto target = to.parameters();
  for (std::size_t i = 0; i < source.size(); ++i) target[i].copy_(source[i]);
}

inline void expect_close(const at::Tensor& found, const at::Tensor& expected, double tolerance = 1e-12) {
  ASSERT_TRUE(found.defined());
  const double scale = 1 + expected.abs().max().item<double>();
  EXPECT_LE((found - expected).abs().max().item<double>(), tolerance * scale);
}

inline void expect_same_parameters(torch::nn::Module& found, torch::nn::Module& expected,
                                   double tolerance = 1e-12) {
  const auto ours = found.parameters();
  const auto theirs = expected.parameters();
  ASSERT_EQ(ours.size(), theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) expect_close(ours[i], theirs[i], tolerance);
}

inline void expect_same_gradients(torch::nn::Module& found, torch::nn::Module& expected,
                                  double tolerance = 1e-12) {
  const auto ours = found.parameters();
  const auto theirs = expected.parameters();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (theirs[i].grad().defined()) {
      expect_close(ours[i].grad(), theirs[i].grad(), tolerance);
    } else {
      EXPECT_EQ(ours[i].grad().abs().sum().item<double>(), 0);
    }
  }
}

}  // namespace bunchtrain::parallel
