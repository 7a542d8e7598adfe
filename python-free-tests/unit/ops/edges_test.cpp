// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/ops/edge_ops.hpp"
#include "bunchtrain/ops/gather_neighbours.hpp"
#include "bunchtrain/ops/index_faults.hpp"
#include "cuda_on_host/ops/edge_block_tensors.hpp"
#include "edge_conv/cpu/mean_over_edges.hpp"
#include "edge_conv/edge_kernels.hpp"
#include "edge_conv/fused.hpp"
#include "gradient_check.hpp"
#include "tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

using ops::edge_sum;
using ops::gather_neighbours;
using ops::scatter_neighbours;
using testing::HasSubstr;

/// [B, P, K] int32 in [0, P), some points named often, others never.
at::Tensor random_indices(std::int64_t sets, std::int64_t points, std::int64_t neighbours,
                          std::uint64_t seed) {
  const auto bound = static_cast<std::uint64_t>(points - points / 4);
  return integer_tensor({sets, points, neighbours}, bound, seed, at::kInt).contiguous();
}

/// The same by LibTorch's own operations.
at::Tensor gather_by_libtorch(const at::Tensor& features, const at::Tensor& indices) {
  const auto b = indices.size(0), p = indices.size(1), k = indices.size(2), c = features.size(2);
  const at::Tensor flat = indices.to(at::kLong).reshape({b, p * k, 1}).expand({b, p * k, c});
  return at::gather(features, 1, flat).reshape({b, p, k, c});
}

struct EdgeCase {
  std::int64_t points;
  std::int64_t neighbours;
  std::int64_t channels;
  at::ScalarType type;
};

std::ostream& operator<<(std::ostream& out, const EdgeCase& c) {
  return out << c.points << " points, " << c.neighbours << " neighbours, " << c.channels << " channels, "
             << c10::toString(c.type);
}

class EdgesTest : public testing::TestWithParam<EdgeCase> {
 protected:
  static constexpr std::int64_t kSets = 3;
  at::Tensor nodes(std::uint64_t seed) const {
    return normal_tensor({kSets, GetParam().points, GetParam().channels}, seed, GetParam().type);
  }
  at::Tensor edges(std::uint64_t seed) const {
    return normal_tensor({kSets, GetParam().points, GetParam().neighbours, GetParam().channels}, seed,
                         GetParam().type);
  }
  at::Tensor indices_ = random_indices(kSets, GetParam().points, GetParam().neighbours, 7);

  /// The sum in float64 of the edges that lead to each point.
  at::Tensor scatter_in_double(const at::Tensor& edges) const {
    const auto [points, neighbours, channels, type] = GetParam();
    const at::Tensor flat =
        indices_.to(at::kLong).reshape({kSets, -1, 1}).expand({kSets, points * neighbours, channels});
    return at::zeros({kSets, points, channels}, at::kDouble)
        .scatter_add(1, flat, edges.to(at::kDouble).reshape({kSets, points * neighbours, channels}));
  }
  /// Rounding of a sum of up to a few hundred numbers.
  double tolerance() const {
    switch (GetParam().type) {
      case at::kDouble:
        return 1e-13;
      case at::kFloat:
        return 2e-5;
      case at::kHalf:
        return 1e-3;
      default:
        return 1e-2;
    }
  }
};

TEST_P(EdgesTest, GathersWhatLibTorchGathers) {
  const at::Tensor features = nodes(1);
  EXPECT_TRUE(gather_neighbours(features, indices_).equal(gather_by_libtorch(features, indices_)));
}

TEST_P(EdgesTest, AddsOwnAndNeighboursTerm) {
  const at::Tensor u = nodes(2), v = nodes(3);
  EXPECT_TRUE(edge_sum(u, v, indices_).equal(u.unsqueeze(2) + gather_by_libtorch(v, indices_)));
}

TEST_P(EdgesTest, ScattersIntoThePointsNamed) {
  const at::Tensor e = edges(4);
  const at::Tensor sums = scatter_neighbours(e, indices_);
  EXPECT_EQ(sums.scalar_type(), GetParam().type);
  EXPECT_TRUE(sums.to(at::kDouble).allclose(scatter_in_double(e), tolerance(), tolerance()));
}

TEST_P(EdgesTest, SumsGradientsOfBothTerms) {
  at::Tensor u = nodes(5).requires_grad_(true), v = nodes(6).requires_grad_(true);
  const at::Tensor gradient = edges(7);
  edge_sum(u, v, indices_).backward(gradient);
  EXPECT_TRUE(u.grad().to(at::kDouble).allclose(gradient.to(at::kDouble).sum(2), tolerance(), tolerance()));
  EXPECT_TRUE(v.grad().to(at::kDouble).allclose(scatter_in_double(gradient), tolerance(), tolerance()));
}

TEST_P(EdgesTest, GivesTheSameBitsForAnyNumberOfThreads) {
  const at::Tensor e = edges(8), u = nodes(9), v = nodes(10);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor sums = scatter_neighbours(e, indices_), spread = edge_sum(u, v, indices_);
  at::set_num_threads(3);
  const at::Tensor sums_of_three = scatter_neighbours(e, indices_),
                   spread_of_three = edge_sum(u, v, indices_);
  at::set_num_threads(threads);
  EXPECT_TRUE(sums.equal(sums_of_three));
  EXPECT_TRUE(spread.equal(spread_of_three));
}

std::vector<EdgeCase> edge_cases() {
  std::vector<EdgeCase> cases;
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf})
    for (const std::int64_t channels : {1, 7, 16, 33, 64}) cases.push_back({40, 16, channels, type});
  cases.push_back({2, 1, 5, at::kFloat});
  cases.push_back({70, 3, 20, at::kFloat});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, EdgesTest, testing::ValuesIn(edge_cases()));

TEST(EdgeGradientsTest, AgreeWithFiniteDifferences) {
  const at::Tensor indices = random_indices(2, 6, 3, 1);
  expect_gradients([&](const auto& x) { return gather_neighbours(x[0], indices); },
                   {normal_tensor({2, 6, 2}, 2, at::kDouble)});
  expect_gradients([&](const auto& x) { return scatter_neighbours(x[0], indices); },
                   {normal_tensor({2, 6, 3, 2}, 3, at::kDouble)});
  expect_gradients([&](const auto& x) { return edge_sum(x[0], x[1], indices); },
                   {normal_tensor({2, 6, 2}, 4, at::kDouble), normal_tensor({2, 6, 2}, 5, at::kDouble)});
}

// A gradient penalty differentiates a gradient: with y = f(x)^2 the second derivative
// passes through f's backward.
TEST(EdgeGradientsTest, CanBeDifferentiatedAgain) {
  const at::Tensor indices = random_indices(2, 5, 3, 6);
  const auto gradient_of = [](const at::Tensor& y, const at::Tensor& x) {
    return torch::autograd::grad({y.pow(3).sum()}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  };
  expect_gradients(
      [&](const auto& x) {
        return gradient_of(edge_sum(x[0], x[1], indices), x[0]) +
               gradient_of(gather_neighbours(x[1], indices), x[1]);
      },
      {normal_tensor({2, 5, 2}, 7, at::kDouble), normal_tensor({2, 5, 2}, 8, at::kDouble)});
}

TEST(EdgeOpsTest, AcceptStridedInput) {
  const at::Tensor indices = random_indices(2, 9, 4, 9);
  const at::Tensor u = normal_tensor({2, 5, 9}, 10).transpose(1, 2),
                   v = normal_tensor({2, 9, 10}, 11).slice(2, 0, 10, 2);
  EXPECT_TRUE(edge_sum(u, v, indices).equal(edge_sum(u.contiguous(), v.contiguous(), indices)));
  const at::Tensor strided = indices.transpose(0, 1).contiguous().transpose(0, 1);
  EXPECT_TRUE(gather_neighbours(u, strided).equal(gather_neighbours(u, indices)));
}

TEST(EdgeOpsTest, KeepTheirDtypesUnderAutocast) {
  const at::Tensor indices = random_indices(2, 9, 4, 12);
  at::Tensor u = normal_tensor({2, 9, 3}, 13).requires_grad_(true);
  const at::Tensor v = normal_tensor({2, 9, 3}, 14, at::kBFloat16);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor gathered = gather_neighbours(u, indices), mixed = edge_sum(u, v, indices);
  const at::Tensor narrow = edge_sum(v, v, indices);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(gathered.scalar_type(), at::kFloat);
  EXPECT_EQ(mixed.scalar_type(), at::kFloat);
  EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
  mixed.sum().backward();
  EXPECT_TRUE(u.grad().equal(at::zeros_like(u) + 4));
}

TEST(EdgeOpsTest, RoundToNearestEvenInBfloat16AndKeepNan) {
  const at::Tensor u = at::tensor({1.0, 1.0, 256.0}, at::kDouble).to(at::kBFloat16).reshape({1, 1, 3});
  const at::Tensor v =
      at::tensor({0.00390625, 0.01171875, std::numeric_limits<double>::quiet_NaN()}, at::kDouble)
          .to(at::kBFloat16)
          .reshape({1, 1, 3});
  const auto out = values<float>(edge_sum(u, v, at::zeros({1, 1, 1}, at::kInt)).to(at::kFloat));
  EXPECT_EQ(out[0], 1.0F);       // half a unit above 1: the even neighbour is below
  EXPECT_EQ(out[1], 1.015625F);  // one and a half: the even neighbour is above
  EXPECT_TRUE(std::isnan(out[2]));
}

/// Vectors of channels and the lanes that are left.
constexpr std::int64_t kManyChannels = 67;

/// Every number of float16 through the loops: read, added to zero, rounded.
TEST(EdgeOpsTest, KeepEveryNumberOfFloat16) {
  const at::Tensor bits = at::arange(1 << 16, at::kInt).to(at::kShort);
  const at::Tensor all = at::constant_pad_nd(bits.view(at::kHalf), {0, 57}).view({1, -1, kManyChannels});
  const at::Tensor self = at::arange(all.size(1), at::kInt).view({1, -1, 1});
  const at::Tensor kept = edge_sum(all, at::full_like(all, -0.0), self).squeeze(2);
  EXPECT_TRUE(kept.isnan().equal(all.isnan()));
  EXPECT_TRUE(kept.contiguous()
                  .view(at::kShort)
                  .masked_fill(all.isnan(), 0)
                  .equal(all.view(at::kShort).masked_fill(all.isnan(), 0)));
}

/// LibTorch adds in float and rounds once.
TEST(EdgeOpsTest, RoundToFloat16AsLibTorchDoes) {
  const at::Tensor bits =
      integer_tensor({2, 1, 2000, kManyChannels}, 1 << 16, 17).sub(1 << 15).to(at::kShort);
  const at::Tensor u = bits[0].view(at::kHalf), v = bits[1].view(at::kHalf);
  const at::Tensor self = at::arange(2000, at::kInt).view({1, -1, 1});
  const at::Tensor sums = edge_sum(u, v, self).squeeze(2);
  const at::Tensor expected = u.to(at::kFloat).add(v.to(at::kFloat)).to(at::kHalf);
  EXPECT_TRUE(sums.isnan().equal(expected.isnan()));
  EXPECT_TRUE(sums.masked_fill(sums.isnan(), 0).equal(expected.masked_fill(expected.isnan(), 0)));
  EXPECT_GT(expected.isinf().sum().item<std::int64_t>(), 0);
  const auto tiny = expected.abs().lt(6e-5).logical_and(expected.ne(0));
  EXPECT_GT(tiny.sum().item<std::int64_t>(), 0) << "subnormal sums";
}

TEST(EdgeErrorsTest, NameTheArgumentAndWhatIsAllowed) {
  const at::Tensor u = normal_tensor({2, 4, 3}, 15), indices = random_indices(2, 4, 2, 16);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const ConfigError& error) {
      return error.message();
    }
    return "no error";
  };
  at::Tensor bad = indices.clone();
  bad[1][2][1] = 4;
  EXPECT_THAT(message([&] { gather_neighbours(u, bad); }), HasSubstr("indices[1, 2, 1]"));
  bad[1][2][1] = -1;
  EXPECT_THAT(message([&] { edge_sum(u, u, bad); }), HasSubstr("0 to 3"));
  EXPECT_THAT(message([&] { gather_neighbours(u, indices.to(at::kLong)); }), HasSubstr("int32"));
  EXPECT_THAT(message([&] { gather_neighbours(u.to(at::kInt), indices); }),
              HasSubstr("features of gather_neighbours"));
  EXPECT_THAT(message([&] { edge_sum(u, normal_tensor({2, 4, 4}, 1), indices); }), HasSubstr("[2, 4, 4]"));
  EXPECT_THAT(message([&] {
                scatter_neighbours(normal_tensor({2, 4, 3, 3}, 1), indices);
              }),
              HasSubstr("3 neighbours"));
  EXPECT_THAT(message([&] { scatter_neighbours(u, indices); }), HasSubstr("[B, P, K, C]"));
}

TEST(EdgeCountsTest, SetsTooLargeForAGpuAreRefusedWithTheLimits) {
  EXPECT_NO_THROW(ops::detail::require_countable({.points = 100000, .neighbours = 40, .channels = 64}, 16));
  try {
    ops::detail::require_countable({.points = 1 << 20, .neighbours = 1 << 11, .channels = 1}, 3);
    ADD_FAILURE() << "no ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(), testing::AllOf(HasSubstr("3 sets of 1048576 points with 2048 neighbours"),
                                                HasSubstr("2^31 - 1 edges")));
  }
}

TEST(IndexFaultsTest, FlagsOfTheCpuStayDown) {
  const at::Tensor flags = ops::index_faults(c10::kCPU);
  EXPECT_TRUE(flags.is_same(ops::index_faults(c10::kCPU)));
  EXPECT_NO_THROW(ops::require_no_index_faults(device::LateCopy(flags).values()));
}

TEST(IndexFaultsTest, RaisedFlagsNameTheOperationsAndTheWayToFindTheIndex) {
  const auto message = [](const std::vector<double>& flags) -> std::string {
    try {
      ops::require_no_index_faults(flags);
    } catch (const ConfigError& error) {
      return error.message();
    }
    return "";
  };
  EXPECT_EQ(message({0, 0}), "");
  EXPECT_THAT(message({1, 0}), testing::AllOf(HasSubstr("reached edge_conv, gather_neighbours or edge_sum"),
                                              HasSubstr("device = cpu"), HasSubstr("wrong")));
  EXPECT_THAT(message({0, 1}), HasSubstr("reached scatter_neighbours"));
  EXPECT_THAT(message({1, 1}), testing::AllOf(HasSubstr("edge_sum"), HasSubstr(" and scatter_neighbours")));
  EXPECT_THROW(ops::require_no_index_faults(std::vector<double>(3)), ConfigError);
  EXPECT_THROW(ops::require_no_index_faults({}), ConfigError);
}

/// Sets with padding that is computed, with inert padding, without a real point, without padding.
TEST(MeanOverEdgesTest, EqualsTheModelThatKernelsAreComparedWith) {
  const PaddedBatch batch({4, 12, 7, {24, 40, 17}}, {4, 0, 12, 6});
  const EdgeBlockModel model(batch.sizes, batch.edges(), {}, {});
  ASSERT_GT(model.block.inert, 0U);
  const BlockTensors block(model, at::kDouble);
  const at::Tensor mean = ops::detail::mean_over_edges(
      block.layers, block.terms, ops::detail::make_edge_plan(batch.indices, batch.padding), at::kDouble);
  mean.mul(tensor_of(model.gradient, at::kDouble)).sum().backward();
  expect_model(model, mean, block, 1e-11);
}

/// A call that fused passes take.
ops::detail::FusedCall taken_call() {
  return {.sets = 1024, .points = 128, .neighbours = 16, .channels = {256, 256, 256}, .edges = at::kBFloat16};
}

TEST(FusedCallTest, WhatIsNotTakenSaysWhy) {
  const auto why = [](auto change) {
    ops::detail::FusedCall call = taken_call();
    change(call);
    return ops::detail::why_not_fused(call);
  };
  EXPECT_EQ(why([](auto&) {}), "");
  EXPECT_EQ(why([](auto& call) { call.edges = at::kFloat, call.tf32 = true; }), "");
  EXPECT_EQ(why([](auto& call) { call.neighbours = 7, call.channels = {64, 40, 64}; }), "");
  EXPECT_THAT(why([](auto& call) { call.wanted = false; }), HasSubstr("not asked for"));
  EXPECT_THAT(why([](auto& call) { call.fits = false; }), HasSubstr("do not fit"));
  EXPECT_EQ(why([](auto& call) { call.edges = at::kFloat; }), "");
  EXPECT_THAT(why([](auto& call) { call.edges = at::kHalf; }), HasSubstr("bfloat16 or float32"));
  EXPECT_THAT(why([](auto& call) { call.features = at::kBFloat16; }), HasSubstr("float32"));
  EXPECT_THAT(why([](auto& call) { call.float_parameters = false; }), HasSubstr("parameters"));
  EXPECT_THAT(why([](auto& call) { call.counts_all_rows = false; }), HasSubstr("out of the statistics"));
  EXPECT_THAT(why([](auto& call) { call.neighbours = 17; }), HasSubstr("17 neighbours"));
  EXPECT_THAT(why([](auto& call) { call.points = 129; }), HasSubstr("129 points"));
  EXPECT_THAT(why([](auto& call) { call.points = 16; }), HasSubstr("more points than neighbours"));
  EXPECT_THAT(why([](auto& call) { call.channels[1] = 257; }), HasSubstr("257 channels"));
  EXPECT_THAT(why([](auto& call) { call.sets = std::int64_t{1} << 40; }), HasSubstr("31 bits"));
  EXPECT_THAT(why([](auto& call) {
                call.neighbours = 7, call.channels = {32, 32, 32};
              }),
              HasSubstr("would be padding"));
}

TEST(FusedCallTest, OldOrSmallCardsSayWhatTheyLack) {
  EXPECT_EQ(ops::detail::why_not_on({.compute_capability = 80, .shared_bytes = 163 << 10}, 117 << 10), "");
  EXPECT_THAT(ops::detail::why_not_on({.compute_capability = 75, .shared_bytes = 64 << 10}, 20 << 10),
              HasSubstr("compute capability 7.5"));
  EXPECT_THAT(ops::detail::why_not_on({.compute_capability = 86, .shared_bytes = 99 << 10}, 117 << 10),
              testing::AllOf(HasSubstr("99 KB"), HasSubstr("117")));
}

TEST(FusedCallTest, IsReadFromTensors) {
  const PaddedBatch batch({2, 20, 16, {64, 64, 64}}, {20, 3});
  const BlockTensors block(EdgeBlockModel(batch.sizes, batch.edges(), {}, {}), at::kFloat);
  ops::EdgeConvLayers layers = block.layers;
  layers.weights[0] = normal_tensor({64, 10}, 1);
  const at::Tensor features = normal_tensor({2, 20, 5}, 2);
  EXPECT_EQ(ops::why_by_operations(features, batch.indices, batch.padding, layers), "")
      << "a call on the CPU";
  const auto call_of = [&](const at::Tensor& x) {
    return ops::detail::fused_call(x, batch.indices, batch.padding, layers);
  };
  const ops::detail::FusedCall call = call_of(features);
  EXPECT_TRUE(call.fits && call.float_parameters && call.counts_all_rows && call.wanted);
  EXPECT_EQ(call.points, 20);
  EXPECT_EQ(call.neighbours, 16);
  EXPECT_EQ(call.channels[2], 64);
  EXPECT_FALSE(call_of(normal_tensor({2, 20, 4}, 2)).fits);
  EXPECT_FALSE(call_of(normal_tensor({2, 21, 5}, 2)).fits);
  layers.fused = false;
  EXPECT_FALSE(call_of(features).wanted);
  layers.norms[1].weight = layers.norms[1].weight.to(at::kDouble);
  EXPECT_FALSE(call_of(features).float_parameters);
}

}  // namespace
}  // namespace bunchtrain::test
