// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/modulated_norm.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "bunchtrain/core/error.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::ops {
namespace {

using nn::random_normal;

at::Tensor by_single_operations(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift) {
  const at::Tensor flat = x.flatten(1);
  const at::Tensor normalised = at::layer_norm(flat, {flat.size(1)}).view(x.sizes());
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
  sizes.front() = x.size(0);
  sizes.back() = x.size(-1);
  return at::silu(normalised * (1 + scale.view(sizes)) + shift.view(sizes));
}

struct Case {
  at::Tensor x, scale, shift, upstream;

  explicit Case(at::IntArrayRef sizes, at::ScalarType type = at::kDouble)
      : x(random_normal(sizes, 1).mul(2).add(0.7).to(type).requires_grad_()),
        scale(random_normal({sizes.front(), sizes.back()}, 2).mul(0.5).to(type).requires_grad_()),
        shift(random_normal({sizes.front(), sizes.back()}, 3).to(type).requires_grad_()),
        upstream(random_normal(sizes, 4).to(type)) {}

  /// Of (y * upstream).sum(), in x, scale and shift.
  std::vector<at::Tensor> gradients(const at::Tensor& y) {
    (y * upstream).sum().backward();
    std::vector<at::Tensor> found;
    for (at::Tensor* leaf : {&x, &scale, &shift}) {
      found.push_back(leaf->grad().clone());
      leaf->mutable_grad().reset();
    }
    return found;
  }
};

TEST(ModulatedNormTest, IsWhatSingleOperationsComputeForwardAndBackward) {
  const std::vector<std::vector<std::int64_t>> shapes = {
      {3, 5, 7, 2, 16}, {2, 70, 70, 1}, {1, 4, 3, 48}, {2, 9, 5}, {2, 6}};
  for (const auto& sizes : shapes) {
    Case of(sizes);
    const at::Tensor expected = by_single_operations(of.x, of.scale, of.shift);
    const at::Tensor found = modulated_norm_silu(of.x, of.scale, of.shift);
    EXPECT_TRUE(at::allclose(found, expected, 1e-11, 1e-12)) << at::IntArrayRef(sizes);
    const auto expected_gradients = of.gradients(expected), gradients = of.gradients(found);
    for (std::size_t i = 0; i < gradients.size(); ++i)
      EXPECT_TRUE(at::allclose(gradients[i], expected_gradients[i], 1e-10, 1e-11))
          << at::IntArrayRef(sizes) << " input " << i;
  }
}

TEST(ModulatedNormTest, FloatsAreAsGoodAsThoseOfSingleOperations) {
  Case wide({4, 12, 12, 12, 16}), narrow({4, 12, 12, 12, 16}, at::kFloat),
      half({4, 12, 12, 12, 16}, at::kBFloat16);
  const at::Tensor expected = by_single_operations(wide.x, wide.scale, wide.shift);
  const at::Tensor of_float = modulated_norm_silu(narrow.x, narrow.scale, narrow.shift);
  const at::Tensor of_half = modulated_norm_silu(half.x, half.scale, half.shift);
  EXPECT_TRUE(at::allclose(of_float.to(at::kDouble), expected, 2e-6, 2e-6));
  EXPECT_EQ(of_half.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(of_half.to(at::kDouble), expected, 3e-2, 3e-2));
  const auto gradients = wide.gradients(expected), of_floats = narrow.gradients(of_float);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    EXPECT_TRUE(at::allclose(of_floats[i].to(at::kDouble), gradients[i], 1e-4, 1e-4)) << "input " << i;
}

TEST(ModulatedNormTest, ActivatesNumbersOfAnySize) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor shift = at::arange(-1200, 1200, type).div(8).view({1, -1});
    const at::Tensor x = at::zeros({1, 4, shift.size(1)}, type);  // the shift alone is left
    const at::Tensor found = modulated_norm_silu(x, at::zeros_like(shift), shift).select(1, 2);
    EXPECT_TRUE(at::allclose(found, at::silu(shift), type == at::kFloat ? 1e-6 : 1e-14, 1e-30));
  }
}

TEST(ModulatedNormTest, WithoutModulationIsTheActivatedNorm) {
  Case of({3, 6, 5, 8});
  const at::Tensor none = at::zeros_like(of.scale);
  EXPECT_TRUE(
      at::allclose(modulated_norm_silu(of.x, {}, {}), by_single_operations(of.x, none, none), 1e-11, 1e-12));
}

TEST(ModulatedNormTest, GivesTheSameBitsForAnyNumberOfThreads) {
  Case of({2, 20, 20, 20, 16}, at::kFloat);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = modulated_norm_silu(of.x, of.scale, of.shift);
  const auto gradients = of.gradients(alone);
  at::set_num_threads(3);
  const at::Tensor together = modulated_norm_silu(of.x, of.scale, of.shift);
  const auto others = of.gradients(together);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(alone, together));
  for (std::size_t i = 0; i < others.size(); ++i) EXPECT_TRUE(at::equal(gradients[i], others[i]));
}

/// Adds what the rank with the other cells has.
struct OtherRank : StatisticsReducer {
  explicit OtherRank(std::vector<at::Tensor> sums) : others(std::move(sums)) {}
  void all_reduce_sum(at::Tensor& statistics) override { statistics.add_(others.at(call++)); }
  std::vector<at::Tensor> others;
  std::size_t call = 0;
};

TEST(ModulatedNormTest, TakesStatisticsOverRanks) {
  Case of({2, 6, 5, 4});
  const at::Tensor all = modulated_norm_silu(of.x, of.scale, of.shift);
  const at::Tensor ours = of.x.detach().narrow(1, 0, 2), theirs = of.x.detach().narrow(1, 2, 4).flatten(1);
  const auto rank = std::make_shared<OtherRank>(
      std::vector<at::Tensor>{at::stack({theirs.sum(1), theirs.square().sum(1)}, 1)});
  const at::Tensor part = modulated_norm_silu(ours, of.scale, of.shift, {.reducer = rank, .cells = 30});
  EXPECT_TRUE(at::allclose(part, all.narrow(1, 0, 2), 1e-11, 1e-12));
}

TEST(ModulatedNormTest, SaysWhatDoesNotFit) {
  Case of({2, 6, 4});
  EXPECT_THROW(modulated_norm_silu(of.x, of.scale, {}), ConfigError);
  EXPECT_THROW(modulated_norm_silu(of.x, of.scale.narrow(0, 0, 1), of.shift), ConfigError);
  EXPECT_THROW(modulated_norm_silu(of.x.to(at::kHalf), of.scale, of.shift), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::ops
