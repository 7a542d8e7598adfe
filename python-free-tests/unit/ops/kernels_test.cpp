// SPDX-License-Identifier: Apache-2.0
// The switch from kernels of ours to LibTorch's operations: that it reaches them, and that both give the same.
#include "bunchtrain/ops/kernels.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/batch_norm.hpp"
#include "bunchtrain/ops/conv3d.hpp"
#include "bunchtrain/ops/edge_conv.hpp"
#include "bunchtrain/ops/edge_ops.hpp"
#include "bunchtrain/ops/gather_neighbours.hpp"
#include "bunchtrain/ops/modulated_norm.hpp"
#include "support/message_of.hpp"
#include "tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

using ops::Kernels;
using ops::KernelsGuard;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

/// Names of LibTorch's operations, of this thread while it lives.
class Operations {
 public:
  Operations() : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(&on_operation))) {
    names().clear();
  }
  ~Operations() { at::removeCallback(handle_); }
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;

  static std::set<std::string>& names() {
    thread_local std::set<std::string> found;
    return found;
  }

 private:
  static std::unique_ptr<at::ObserverContext> on_operation(const at::RecordFunction& operation) {
    names().emplace(operation.name());
    return nullptr;
  }
  at::CallbackHandle handle_;
};

using Compute = std::function<at::Tensor(const std::vector<at::Tensor>& leaves)>;

/// The result and the gradients of its sum of squares.
std::vector<at::Tensor> computed(Kernels kernels, const Compute& compute, std::vector<at::Tensor> leaves) {
  const KernelsGuard guard(kernels);
  for (at::Tensor& leaf : leaves) leaf = leaf.detach().clone().requires_grad_();
  const at::Tensor result = compute(leaves);
  torch::autograd::backward({result.to(at::kDouble).square().sum()}, {});
  std::vector<at::Tensor> all = {result.detach()};
  for (const at::Tensor& leaf : leaves) all.push_back(leaf.grad());
  return all;
}

/// @param operation of LibTorch, that is there with the one and not with the other
void expect_same(const Compute& compute, const std::vector<at::Tensor>& leaves, const std::string& operation,
                 double tolerance = 1e-11) {
  std::vector<at::Tensor> ours, theirs;
  {
    const Operations operations;
    ours = computed(Kernels::automatic, compute, leaves);
    EXPECT_THAT(Operations::names(), Not(Contains(operation)));
  }
  {
    const Operations operations;
    theirs = computed(Kernels::libtorch, compute, leaves);
    EXPECT_THAT(Operations::names(), Contains(operation));
  }
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].scalar_type(), theirs[i].scalar_type()) << i;
    const double size = ours[i].to(at::kDouble).norm().item<double>();
    EXPECT_LE((ours[i] - theirs[i]).to(at::kDouble).norm().item<double>(), tolerance * size) << i;
  }
}

ops::BatchNormTensors batch_norm_of(const at::Tensor& weight, const at::Tensor& bias) {
  return {.weight = weight,
          .bias = bias,
          .running_mean = at::zeros_like(weight.detach()),
          .running_var = at::ones_like(weight.detach()),
          .num_batches_tracked = at::zeros({}, at::kLong)};
}

at::Tensor numbers(at::IntArrayRef sizes, std::uint64_t seed) {
  return normal_tensor(sizes, seed, at::kDouble);
}

TEST(KernelsTest, EdgeConvGoesByOperations) {
  const at::Tensor indices = integer_tensor({3, 12, 4}, 12, 7, at::kInt);
  const ops::Padding padding{.mask = at::arange(12).lt(9).expand({3, 12}).contiguous(), .zeroed = true};
  const Compute block = [&](const std::vector<at::Tensor>& leaves) {
    ops::EdgeConvLayers layers{.weights = {leaves[1], leaves[2], leaves[3]}, .norms = {}};
    for (std::size_t i = 0; i < 3; ++i) layers.norms[i] = batch_norm_of(leaves[4 + 2 * i], leaves[5 + 2 * i]);
    return ops::edge_conv(leaves[0], indices, padding, layers) * padding.mask.unsqueeze(2);
  };
  std::vector<at::Tensor> leaves = {numbers({3, 12, 5}, 1), numbers({8, 10}, 2), numbers({6, 8}, 3),
                                    numbers({7, 6}, 4)};
  for (const std::int64_t channels : {8, 6, 7}) {
    leaves.push_back(numbers({channels}, 5));
    leaves.push_back(numbers({channels}, 6));
  }
  expect_same(block, leaves, "aten::index_select");
}

TEST(KernelsTest, SumsOverNeighboursAreLibTorchs) {
  const at::Tensor indices = integer_tensor({2, 9, 4}, 9, 8, at::kInt);
  expect_same([&](const auto& leaves) { return ops::gather_neighbours(leaves[0], indices); },
              {numbers({2, 9, 3}, 1)}, "aten::index_select");
  expect_same([&](const auto& leaves) { return ops::scatter_neighbours(leaves[0], indices); },
              {numbers({2, 9, 4, 3}, 1)}, "aten::index_add");
  expect_same([&](const auto& leaves) { return ops::edge_sum(leaves[0], leaves[1], indices); },
              {numbers({2, 9, 3}, 1), numbers({2, 9, 3}, 2)}, "aten::index_select");
  // Sums of 16 bits are of float32: each is rounded once.
  expect_same([&](const auto& leaves) { return ops::scatter_neighbours(leaves[0], indices); },
              {numbers({2, 9, 4, 3}, 1).to(at::kBFloat16)}, "aten::index_add", 1e-2);
  const KernelsGuard libtorch(Kernels::libtorch);
  EXPECT_THAT(message_of([&] {
                ops::gather_neighbours(numbers({2, 8, 3}, 1), indices.slice(1, 0, 8));
              }),
              HasSubstr("a point of the set"));
}

TEST(KernelsTest, NormsAreLibTorchs) {
  const at::Tensor mask = at::arange(40).lt(31);
  for (const bool relu : {false, true})
    expect_same(
        [&](const auto& leaves) {
          return ops::batch_norm(leaves[0], batch_norm_of(leaves[1], leaves[2]), mask, relu);
        },
        {numbers({40, 6}, 1), numbers({6}, 2), numbers({6}, 3)}, "aten::stack");
  EXPECT_TRUE(ops::has_modulated_norm(at::ones({2, 3})));
  const KernelsGuard libtorch(Kernels::libtorch);
  EXPECT_FALSE(ops::has_modulated_norm(at::ones({2, 3}))) << "layers take operations then";
}

TEST(KernelsTest, ConvolutionsAreLibTorchs) {
  const std::vector<at::Tensor> leaves = {numbers({2, 6, 5, 7, 3}, 1), numbers({4, 3, 3, 2, 4}, 2),
                                          numbers({4}, 3)};
  const ops::Padding3 padding{.before = {1, 0, 2}, .after = {0, 1, 2}};
  expect_same([&](const auto& all) { return ops::conv3d(all[0], all[1], all[2], padding); }, leaves,
              "aten::convolution");
  expect_same(
      [&](const auto& all) {
        return ops::upsampled_conv3d(all[0], all[1], all[2], {2, 2, 2}, padding);
      },
      leaves, "aten::convolution");
}

TEST(KernelsTest, AChoiceIsPutBack) {
  EXPECT_EQ(ops::kernels(), Kernels::automatic);
  {
    const KernelsGuard outer(Kernels::libtorch);
    {
      const KernelsGuard inner(Kernels::automatic);
      EXPECT_EQ(ops::kernels(), Kernels::automatic);
    }
    EXPECT_EQ(ops::kernels(), Kernels::libtorch);
  }
  EXPECT_EQ(ops::kernels(), Kernels::automatic);
  EXPECT_EQ(ops::parse_kernels("libtorch"), Kernels::libtorch);
  EXPECT_EQ(to_string(ops::parse_kernels("auto")), "auto");
  EXPECT_THAT(message_of<ConfigError>([] { ops::parse_kernels("ours"); }), HasSubstr("auto, libtorch"));
}

}  // namespace
}  // namespace bunchtrain::test
