// SPDX-License-Identifier: Apache-2.0
// The fused passes of an EdgeConv block from tensors to gradients, as on a GPU but with kernels run by the host,
// against float64.
#include <ATen/Context.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <bit>
#include <bunchtrain/device/detail/mma.cuh>
#include <string>
#include <vector>

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/ops/index_faults.hpp"
#include "edge_block_tensors.hpp"
#include "edge_conv/cpu/mean_over_edges.hpp"
#include "edge_conv/cuda/edge_tiles.hpp"
#include "edge_conv/cuda/fused_mean.hpp"
#include "edge_conv/fused.hpp"
#include "runtime/host_cuda.hpp"
#include "storage_values.hpp"
#include "support/peak_allocator.hpp"

namespace bunchtrain::ops::detail {
namespace {

using device::Precision;
using test::BlockEdges;
using test::BlockTensors;
using test::EdgeBlockModel;
using test::EdgeBlockSizes;
using test::PaddedBatch;
using test::Rounding;

/// Numbers that nobody has written are NaN.
class FusedEdgesHostTest : public testing::Test {
 protected:
  void SetUp() override { at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false); }
  void TearDown() override {
    at::globalContext().setDeterministicAlgorithms(false, false);
    host_cuda::set_block_order(host_cuda::BlockOrder::ascending);
    index_faults(c10::kCPU).zero_();
  }
};

constexpr Precision kPrecisions[] = {Precision::bfloat16, Precision::tf32, Precision::float32};

/// bfloat16 edges are operands as they are; float ones are rounded on the way to a product, unless it is exact.
EdgeBlockModel model_of(const PaddedBatch& batch, Precision edges) {
  const auto narrow = [](double value) { return test::value_of(test::stored<Bf16>(value)); };
  const auto tf32 = [](double value) {
    return static_cast<double>(std::bit_cast<float>(device::to_tf32(static_cast<float>(value))));
  };
  const auto as_it_is = [](double value) { return static_cast<double>(static_cast<float>(value)); };
  if (edges == Precision::bfloat16) return {batch.sizes, batch.edges(), narrow, narrow};
  return {batch.sizes, batch.edges(), edges == Precision::tf32 ? tf32 : Rounding(as_it_is), as_it_is};
}

at::ScalarType type_of(Precision edges) { return edges == Precision::bfloat16 ? at::kBFloat16 : at::kFloat; }

at::Tensor mean_of(const PaddedBatch& batch, const BlockTensors& block, const TrainingKind& kind) {
  return mean_over_fused_edges(block.layers, block.terms, list_nodes(batch.indices, batch.padding), kind);
}
at::Tensor mean_of(const PaddedBatch& batch, const BlockTensors& block, Precision edges) {
  return mean_of(batch, block, TrainingKind{edges});
}

void walk_back(const EdgeBlockModel& model, const at::Tensor& mean, bool retain_graph = false) {
  mean.mul(test::tensor_of(model.gradient, at::kFloat)).sum().backward({}, retain_graph);
}

/// Widths 64, 128, 256, whole or in part; 16 neighbours or fewer; sets without padding, with some that is computed,
/// with inert one, and with nothing real.
std::vector<PaddedBatch> batches() {
  return {{{2, 18, 16, {64, 64, 64}}, {17, 1}},
          {{4, 12, 7, {24, 40, 17}}, {4, 0, 12, 6}},
          {{1, 17, 16, {128, 128, 128}}, {5}, true, false},
          {{1, 4, 3, {65, 100, 130}}, {3}},
          {{2, 5, 3, {16, 20, 24}}, {4, 2}, false, true},
          {{1, 18, 16, {256, 256, 256}}, {1}}};
}

/// Sums of float32 that may turn a rounding around, and where that is in front of a ReLU a whole term.
constexpr double kTolerance = 2e-3;
double tolerance_of(Precision edges) { return edges == Precision::float32 ? 1e-5 : kTolerance; }

/// Blocks go through several tiles: one to four along them.
constexpr TrainingCut kFewBlocks{.most_blocks = 4};

void expect_float64(Precision edges) {
  for (const PaddedBatch& batch : batches()) {
    SCOPED_TRACE(std::to_string(batch.sizes.channels[0]) + " channels, " +
                 std::to_string(batch.sizes.neighbours) + " neighbours");
    const EdgeBlockModel model = model_of(batch, edges);
    const BlockTensors block(model, at::kFloat);
    const at::Tensor mean = mean_of(batch, block, {edges, kFewBlocks});
    walk_back(model, mean);
    test::expect_model(model, mean, block, tolerance_of(edges));
  }
}

TEST_F(FusedEdgesHostTest, StepEqualsFloat64WithBfloat16Edges) { expect_float64(Precision::bfloat16); }
TEST_F(FusedEdgesHostTest, StepEqualsFloat64WithTf32Products) { expect_float64(Precision::tf32); }
TEST_F(FusedEdgesHostTest, StepEqualsFloat64WithExactProducts) { expect_float64(Precision::float32); }

/// All that a step leaves.
std::vector<at::Tensor> results_of(const PaddedBatch& batch, const EdgeBlockModel& model, bool recompute,
                                   int walks = 1, const TrainingKind& kind = {Precision::bfloat16}) {
  BlockTensors block(model, at::kFloat);
  block.layers.recompute = recompute;
  const at::Tensor mean = mean_of(batch, block, kind);
  for (int walk = 1; walk <= walks; ++walk) walk_back(model, mean, /*retain_graph=*/walk < walks);
  std::vector<at::Tensor> all = block.gradients();
  all.push_back(mean);
  for (const BatchNormTensors& norm : block.layers.norms)
    all.insert(all.end(), {norm.running_mean, norm.running_var, norm.num_batches_tracked});
  return all;
}

void expect_equal(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(at::equal(found[i], expected[i])) << i;
}

TEST_F(FusedEdgesHostTest, StepsGiveTheSameBitsInAnyOrderOfBlocksAndWithRecomputedEdges) {
  const PaddedBatch batch({4, 12, 7, {24, 40, 17}}, {4, 0, 12, 6});
  const EdgeBlockModel model = model_of(batch, Precision::bfloat16);
  const std::vector<at::Tensor> expected = results_of(batch, model, /*recompute=*/false);
  EXPECT_EQ(expected.back().item<std::int64_t>(), 1);
  for (const host_cuda::BlockOrder order : host_cuda::kBlockOrders) {
    host_cuda::set_seed(7);
    host_cuda::set_block_order(order);
    expect_equal(results_of(batch, model, order == host_cuda::BlockOrder::descending), expected);
  }
}

/// All passes with as many columns as each can have up to `columns`, and stages where they fit.
template <class S>
TrainingTiles tiles_of(const EdgeBlockSizes& sizes, int width, int columns, int stages) {
  TrainingTiles tiles;
  for (const EdgePass pass : kEdgePasses) {
    PassTiles& own = tiles.passes[static_cast<int>(pass)];
    own = {std::min(columns, most_columns<S>(pass, width)), stages};
    const std::size_t bytes = pass_bytes<S>(pass, width, own, static_cast<int>(sizes.points));
    if (bytes > host_cuda::kLargeSharedBytes) own.stages = 1;
  }
  return tiles;
}

/// Last tiles that are not full; one node; a set without nodes, a batch without any; channels that fill 16 bytes, and others.
/// The last batches take long without tensor cores.
std::vector<PaddedBatch> batches_of_tiles(Precision edges) {
  std::vector<PaddedBatch> batches = {{{5, 12, 7, {24, 40, 64}}, {6, 0, 9, 12, 4}},
                                      {{2, 17, 16, {17, 30, 9}}, {1, 0}},
                                      {{2, 5, 3, {16, 20, 24}}, {0, 0}}};
  if (edges != Precision::float32) batches.push_back({{2, 6, 4, {128, 101, 65}}, {6, 3}});
  if (edges == Precision::bfloat16) batches.push_back({{1, 10, 6, {256, 131, 252}}, {10}});
  return batches;
}

TEST_F(FusedEdgesHostTest, AllColumnsAndStagesGiveTheSameBits) {
  for (const Precision edges : kPrecisions)
    for (const PaddedBatch& batch : batches_of_tiles(edges)) {
      const EdgeBlockModel model = model_of(batch, edges);
      const int width = fused_width(static_cast<int>(std::ranges::max(batch.sizes.channels)));
      TrainingKind kind{edges, kFewBlocks};
      const std::vector<at::Tensor> expected = results_of(batch, model, false, 1, kind);
      for (int columns = width < 256 ? 64 : 128; columns <= width; columns *= 2)
        for (int stages = columns < width ? 2 : 1; stages <= 2; ++stages) {
          SCOPED_TRACE(std::string(to_string(edges)) + ", width " + std::to_string(width) + ", " +
                       std::to_string(columns) + " columns, " + std::to_string(stages) + " stages");
          kind.cut.tiles = with_edges_of(
              edges, [&]<class S>(S) { return tiles_of<S>(batch.sizes, width, columns, stages); });
          const PassTiles third_layer = kind.cut.tiles.of(EdgePass::third_layer);
          if (third_layer == PassTiles{} || third_layer.columns < columns) continue;
          host_cuda::set_seed(static_cast<std::uint64_t>(columns + stages));
          host_cuda::set_block_order(host_cuda::BlockOrder::random);
          expect_equal(results_of(batch, model, false, 1, kind), expected);
        }
    }
}

TEST_F(FusedEdgesHostTest, ARetainedGraphCanBeWalkedTwice) {
  const PaddedBatch batch({2, 5, 3, {16, 20, 24}}, {5, 1});
  const EdgeBlockModel model = model_of(batch, Precision::bfloat16);
  std::vector<at::Tensor> once = results_of(batch, model, false);
  const std::vector<at::Tensor> twice = results_of(batch, model, false, 2);
  for (std::size_t i = 0; i < 9; ++i) EXPECT_TRUE(at::equal(twice[i], once[i].mul(2))) << i;
}

TEST_F(FusedEdgesHostTest, RunningStatisticsMoveAsOnTheCpuAndEvaluationUsesThem) {
  const PaddedBatch batch({3, 9, 5, {24, 40, 17}}, {9, 5, 2});
  const EdgeBlockModel model = model_of(batch, Precision::tf32);
  BlockTensors fused(model, at::kFloat), by_cpu(model, at::kFloat);
  const auto cpu_mean = [&] {
    return mean_over_edges(by_cpu.layers, by_cpu.terms, make_edge_plan(batch.indices, batch.padding),
                           at::kFloat);
  };
  const c10::NoGradGuard no_grad;
  mean_of(batch, fused, Precision::tf32);
  cpu_mean();
  for (std::size_t layer = 0; layer < 3; ++layer) {
    const BatchNormTensors &found = fused.layers.norms[layer], &expected = by_cpu.layers.norms[layer];
    EXPECT_LE(found.running_mean.sub(expected.running_mean).abs().max().item<double>(), 1e-3);
    EXPECT_LE(found.running_var.sub(expected.running_var).abs().max().item<double>(), 1e-3);
    fused.layers.norms[layer].training = by_cpu.layers.norms[layer].training = false;
  }
  const at::Tensor mean = mean_of(batch, fused, Precision::tf32), expected = cpu_mean();
  EXPECT_LE(mean.sub(expected).norm().item<double>(), 2e-3 * expected.norm().item<double>());
  EXPECT_EQ(fused.layers.norms[0].num_batches_tracked.item<std::int64_t>(), 1);
}

/// The model's statistics as running ones.
BlockTensors evaluated(const EdgeBlockModel& model) {
  BlockTensors block(model, at::kFloat);
  for (std::size_t layer = 0; layer < 3; ++layer) {
    BatchNormTensors& norm = block.layers.norms[layer];
    norm.training = false;
    norm.running_mean = at::tensor(model.norms[layer].mean, at::kDouble).to(at::kFloat);
    norm.running_var = at::tensor(model.norms[layer].inverse, at::kDouble)
                           .pow(-2)
                           .sub(EdgeBlockModel::kEpsilon)
                           .to(at::kFloat);
  }
  return block;
}

at::Tensor evaluated_mean_of(const PaddedBatch& batch, const BlockTensors& block, Precision edges,
                             int tile_nodes = 8) {
  return evaluated_mean(block.layers, block.terms, list_nodes(batch.indices, batch.padding),
                        {edges, tile_nodes});
}

/// Only operands are rounded, and in bfloat16 the terms of points: nothing is stored between the layers.
EdgeBlockModel evaluated_model_of(const PaddedBatch& batch, Precision edges) {
  const Rounding operands = model_of(batch, edges).operands;
  return {batch.sizes, batch.edges(), operands, {}, edges == Precision::bfloat16 ? operands : Rounding()};
}

TEST_F(FusedEdgesHostTest, EvaluationInOneLaunchEqualsFloat64) {
  const c10::NoGradGuard no_grad;
  for (const Precision edges : kPrecisions)
    for (const PaddedBatch& batch : batches()) {
      SCOPED_TRACE(std::string(to_string(edges)) + ", " + std::to_string(batch.sizes.channels[0]) +
                   " channels, " + std::to_string(batch.sizes.neighbours) + " neighbours");
      const EdgeBlockModel model = evaluated_model_of(batch, edges);
      const BlockTensors block = evaluated(model);
      ASSERT_TRUE(is_evaluation(block.layers, block.terms));
      const at::Tensor mean = evaluated_mean_of(batch, block, edges);
      EXPECT_LE(test::distance(mean, model.mean.values), tolerance_of(edges));
      if (edges == Precision::bfloat16) {
        EXPECT_TRUE(at::equal(evaluated_mean_of(batch, block, edges, 4), mean));
      }
    }
}

constexpr int kCapabilities[] = {80, 86, 87, 89, 90, 100, 103, 120, 121};

/// Of a block at most, CUDA C++ Programming Guide, table of features.
int kilobytes_of(int capability) {
  if (capability == 86 || capability == 89 || capability >= 120) return 99;
  return capability < 90 ? 163 : 227;
}

/// Sets of up to 128 points but where a card cannot have that; in kilobytes too little for C with 64 columns and one stage.
template <class S>
void expect_training_tiles_fit(int capability, int width) {
  for (const EdgePass pass : kEdgePasses) {
    const PassTiles& tiles = training_tiles<S>(capability, width).of(pass);
    EXPECT_TRUE(tiles.stages == 1 || tiles.stages == 2);
    EXPECT_TRUE(tiles.columns == 64 || tiles.columns == 128 || tiles.columns == 256);
    EXPECT_LE(tiles.columns, most_columns<S>(pass, width));
    const auto bytes_of = [&](const PassTiles& of) {
      return pass_bytes<S>(pass, width, of, kMostFusedPoints);
    };
    const std::size_t limit = std::size_t{1024} * static_cast<std::size_t>(kilobytes_of(capability));
    EXPECT_TRUE(bytes_of(tiles) <= limit || tiles == PassTiles{})
        << capability << ", width " << width << ", pass " << static_cast<int>(pass) << ": "
        << bytes_of(tiles);
    EXPECT_LE(bytes_of({}), bytes_of(tiles));
  }
}

TEST_F(FusedEdgesHostTest, TilesOfTrainingFitTheSharedMemoryOfEveryArchitecture) {
  for (const int capability : kCapabilities)
    for (const int width : {64, 128, 256}) {
      expect_training_tiles_fit<Bf16>(capability, width);
      expect_training_tiles_fit<float>(capability, width);
      expect_training_tiles_fit<ExactFloat>(capability, width);
    }
  const auto bytes = [](int capability, int width, int points) {
    std::size_t most = 0;
    for (const EdgePass pass : kEdgePasses)
      most = std::max(
          most, pass_bytes<Bf16>(pass, width, training_tiles<Bf16>(capability, width).of(pass), points));
    return most;
  };
  EXPECT_LE(bytes(86, 128, 128), 99 << 10);
  EXPECT_LE(bytes(86, 256, 100), 99 << 10) << "256 channels of up to 100 points";
  EXPECT_GT(bytes(86, 256, 128), 99 << 10);
}

TEST_F(FusedEdgesHostTest, TilesOfEveryArchitectureFitItsSharedMemory) {
  for (const int capability : kCapabilities)
    for (const int width : {64, 128, 256}) {
      const int nodes = evaluation_nodes(capability, width);
      EXPECT_TRUE(nodes == 4 || nodes == 8);
      const std::size_t bytes = fused_evaluation_bytes<Bf16>(width, nodes);
      EXPECT_LE(bytes, std::size_t{1024} * static_cast<std::size_t>(kilobytes_of(capability))) << capability;
    }
  EXPECT_EQ(evaluation_nodes(75, 64), 8) << "the first line, before it";
}

/// A shortcut beside a model, by definition in float64.
struct ModelShortcut {
  at::Tensor features, projected;  ///< projected: undefined if the features are added as they are
  EdgeConvShortcut tensors;

  ModelShortcut(const EdgeBlockSizes& sizes, bool projects, Precision edges) {
    const std::size_t points = sizes.sets * sizes.points, channels = sizes.channels[2];
    features = test::tensor_of(test::normal_rows(points, projects ? 5 : channels, 40, 1), at::kFloat);
    if (!projects) return;
    projected = test::tensor_of(test::normal_rows(points, channels, 41, 1), type_of(edges));
    const auto numbers = [&](std::uint64_t stream) {
      return test::tensor_of(test::normal_rows(1, channels, stream, 1), at::kFloat).flatten();
    };
    tensors.weight = test::tensor_of(test::normal_rows(channels, 5, 42, 1), at::kFloat);
    tensors.norm = {.weight = numbers(43),
                    .bias = numbers(44),
                    .running_mean = numbers(45),
                    .running_var = numbers(46).abs().add(0.5),
                    .num_batches_tracked = at::zeros({}, at::kLong)};
    tensors.norm.training = false;
  }
  at::Tensor added() const {
    if (!projected.defined()) return features.to(at::kDouble);
    const BatchNormTensors& norm = tensors.norm;
    const at::Tensor inverse = norm.running_var.to(at::kDouble).add(norm.epsilon).rsqrt();
    return (projected.to(at::kDouble) - norm.running_mean) * inverse * norm.weight + norm.bias;
  }
};

TEST_F(FusedEdgesHostTest, AWholeBlockIsEvaluatedInTheSameLaunch) {
  const c10::NoGradGuard no_grad;
  for (const Precision edges : kPrecisions)
    for (const bool projects : {true, false})
      for (const PaddedBatch& batch : batches()) {
        SCOPED_TRACE(std::string(to_string(edges)) + ", " + std::to_string(batch.sizes.channels[2]) +
                     " channels" + (projects ? ", projected" : ""));
        const EdgeBlockModel model = evaluated_model_of(batch, edges);
        const BlockTensors block = evaluated(model);
        const ModelShortcut shortcut(batch.sizes, projects, edges);
        const at::Tensor terms = block.terms.to(type_of(edges));
        const at::Tensor rows = projects ? at::cat({terms, shortcut.projected}, 1) : terms;
        at::Tensor expected = at::relu(test::tensor_of(model.mean, at::kDouble) + shortcut.added());
        if (batch.padding.zeroed) expected = expected * batch.padding.mask.flatten().unsqueeze(1);
        const at::Tensor found =
            evaluated_block(block.layers, shortcut.tensors, {rows, shortcut.features}, batch.padding,
                            list_nodes(batch.indices, batch.padding), {edges});
        EXPECT_LE(found.to(at::kDouble).sub(expected).norm().item<double>(),
                  tolerance_of(edges) * expected.norm().item<double>());
      }
}

TEST_F(FusedEdgesHostTest, GradientsStatisticsAndWidthsThatDifferAreNoEvaluatedBlock) {
  const PaddedBatch batch({2, 5, 3, {16, 20, 24}}, {4, 2});
  BlockTensors block = evaluated(model_of(batch, Precision::tf32));
  block.layers.weights[0] = at::zeros({16, 10});
  ModelShortcut shortcut(batch.sizes, /*projects=*/true, Precision::tf32);
  const auto is_evaluated = [&] {
    return is_evaluated_block(shortcut.features, block.layers, shortcut.tensors);
  };
  EXPECT_FALSE(is_evaluated()) << "gradients of the layers";
  const c10::NoGradGuard no_grad;
  EXPECT_TRUE(is_evaluated());
  EXPECT_FALSE(is_evaluated_block(shortcut.features, block.layers, {})) << "5 features, 24 channels";
  shortcut.tensors.norm.training = true;
  EXPECT_FALSE(is_evaluated());
  shortcut.tensors.norm.training = false;
  shortcut.tensors.weight = at::zeros({24, 6});
  EXPECT_FALSE(is_evaluated());
}

TEST_F(FusedEdgesHostTest, EvaluationGivesTheSameBitsInAnyOrderOfBlocks) {
  const c10::NoGradGuard no_grad;
  const PaddedBatch batch({4, 12, 7, {24, 40, 17}}, {4, 0, 12, 6});
  const BlockTensors block = evaluated(model_of(batch, Precision::bfloat16));
  const at::Tensor expected = evaluated_mean_of(batch, block, Precision::bfloat16);
  EXPECT_EQ(expected.reshape({4, 12, 17})[1].abs().sum().item<double>(), 0) << "a set without nodes";
  for (const host_cuda::BlockOrder order : host_cuda::kBlockOrders) {
    host_cuda::set_seed(7);
    host_cuda::set_block_order(order);
    EXPECT_TRUE(at::equal(evaluated_mean_of(batch, block, Precision::bfloat16), expected));
  }
}

TEST_F(FusedEdgesHostTest, TrainingAndGradientsAreNoEvaluation) {
  const PaddedBatch batch({2, 5, 3, {16, 20, 24}}, {4, 2});
  BlockTensors block = evaluated(model_of(batch, Precision::tf32));
  EXPECT_FALSE(is_evaluation(block.layers, block.terms)) << "gradients";
  const c10::NoGradGuard no_grad;
  EXPECT_TRUE(is_evaluation(block.layers, block.terms));
  block.layers.norms[1].training = true;
  EXPECT_FALSE(is_evaluation(block.layers, block.terms));
}

/// Stands for another rank: adds its sums, in the order in which layers ask.
class OtherRank : public StatisticsReducer {
 public:
  explicit OtherRank(std::vector<std::vector<double>> sums) : sums_(std::move(sums)) {}
  void all_reduce_sum(at::Tensor& statistics) override {
    statistics.add_(at::tensor(sums_.at(asked_++), at::kDouble));
  }
  std::size_t asked() const { return asked_; }

 private:
  std::vector<std::vector<double>> sums_;
  std::size_t asked_ = 0;
};

/// Sums of a and a b over the rows from `first` on, and their count.
std::vector<double> sums_from(std::size_t first, const test::Rows& a, const test::Rows& b, bool squares) {
  std::vector<double> sums(2 * a.columns + 1);
  for (std::size_t r = first; r < a.rows(); ++r)
    for (std::size_t c = 0; c < a.columns; ++c) {
      sums[c] += a(r, c);
      sums[a.columns + c] += a(r, c) * (squares ? a(r, c) : b(r, c));
    }
  sums.back() = static_cast<double>(a.rows() - first);
  return sums;
}

TEST_F(FusedEdgesHostTest, StatisticsAreThoseOfAllRanks) {
  constexpr std::size_t kOwn = 2, kPoints = 6, kOwnNodes = 7;
  const PaddedBatch all({3, kPoints, 4, {16, 24, 20}}, {4, 3, 5}, true, false),
      own({kOwn, kPoints, 4, {16, 24, 20}}, {4, 3}, true, false);
  const EdgeBlockModel model = model_of(all, Precision::tf32), own_model = model_of(own, Precision::tf32);
  std::vector<std::vector<double>> sums;
  const std::size_t others = kOwnNodes * all.sizes.neighbours;
  for (const auto& y : model.y) sums.push_back(sums_from(others, y, y, true));
  for (const std::size_t layer : {2, 1, 0})
    sums.push_back(sums_from(others, model.behind[layer], model.y[layer], false));
  const auto other = std::make_shared<OtherRank>(sums);

  BlockTensors block(own_model, at::kFloat);
  for (BatchNormTensors& norm : block.layers.norms) norm.reducer = other;
  block.terms =
      test::tensor_of(model.terms, at::kFloat).narrow(0, 0, kOwn * kPoints).clone().requires_grad_();
  const at::Tensor mean = mean_of(own, block, Precision::tf32);
  mean.mul(test::tensor_of(model.gradient, at::kFloat).narrow(0, 0, kOwn * kPoints)).sum().backward();
  const auto own_rows = [&](const test::Rows& rows) {
    return std::vector<double>(rows.values.begin(), rows.values.begin() + static_cast<std::ptrdiff_t>(
                                                                              kOwn * kPoints * rows.columns));
  };
  EXPECT_EQ(other->asked(), sums.size());
  EXPECT_LE(test::distance(mean, own_rows(model.mean)), kTolerance);
  EXPECT_LE(test::distance(block.terms.grad(), own_rows(model.terms_gradient)), kTolerance);
}

TEST_F(FusedEdgesHostTest, MemoryOfAStepIsWithinATenthOfThePrediction) {
  for (const auto& [edges, recompute] : {std::pair{Precision::bfloat16, false}, {Precision::tf32, true}}) {
    const PaddedBatch batch({6, 32, 16, {64, 40, 64}}, std::vector<std::int64_t>(6, 32));
    const EdgeBlockModel model = model_of(batch, edges);
    BlockTensors block(model, at::kFloat);
    block.layers.recompute = recompute;
    at::Tensor kept;
    const double after_forward = test::peak_bytes([&] {
      kept = mean_of(batch, block, edges);
      test::PeakAllocator::peak = test::PeakAllocator::in_use.load();
    });
    const double all = after_forward + test::peak_bytes([&] { walk_back(model, kept); });
    const FusedEdgeMemory memory =
        fused_edge_memory(6 * 32, 16, {64, 40, 64}, edges == Precision::bfloat16 ? 2 : 4);
    const auto points = static_cast<double>(memory.points - 6 * 32 * 2 * 64 * 4);  // terms were there before
    const double forward = points + static_cast<double>(recompute ? 0 : memory.edges);
    EXPECT_NEAR(after_forward / forward, 1, recompute ? 0.7 : 0.1);
    EXPECT_NEAR(all / (points + static_cast<double>(memory.edges + memory.backward)), 1, 0.1);
  }
}

TEST_F(FusedEdgesHostTest, NodesAreThoseThatTheCpuComputes) {
  for (const auto& [zeroed, counted] : {std::pair{true, true}, {true, false}, {false, true}}) {
    const PaddedBatch batch({300, 11, 4, {1, 1, 1}}, std::vector<std::int64_t>(300, 0), zeroed, counted);
    const at::Tensor mask = at::arange(300 * 11).mul(7919).remainder(13).reshape({300, 11}).gt(
        at::arange(300).remainder(14).unsqueeze(1).sub(1));
    const Padding padding{.mask = mask, .zeroed = zeroed, .counted = counted};
    const EdgePlan plan = make_edge_plan(batch.indices, padding);
    const FusedNodes found = list_nodes(batch.indices, padding);
    const auto count = static_cast<std::int64_t>(plan.nodes.size());
    ASSERT_EQ(found.first_node[300].item<int>(), count);
    EXPECT_TRUE(found.nodes.narrow(0, 0, count).equal(at::tensor(plan.nodes, at::kInt)));
    const at::Tensor rows = found.nodes.narrow(0, 0, count).to(at::kLong);
    EXPECT_TRUE(found.indices.reshape({-1, 4}).index_select(0, rows).equal(
        plan.indices.reshape({-1, 4}).index_select(0, rows)));
    ASSERT_EQ(found.inert_edges.defined(), zeroed && counted);
    if (found.inert_edges.defined()) {
      EXPECT_EQ(found.inert_edges.item<double>(), static_cast<double>(plan.inert_edges));
    }
  }
}

TEST_F(FusedEdgesHostTest, ABadIndexRaisesTheFlagAndCountsAsTheNearestPoint) {
  PaddedBatch batch({2, 6, 3, {16, 16, 16}}, {6, 4});
  const at::Tensor flags = index_faults(c10::kCPU);
  const FusedNodes good = list_nodes(batch.indices, batch.padding);
  EXPECT_EQ(flags[0].item<int>(), 0);
  batch.indices.view(-1)[4] = 1 << 30;
  batch.indices.view(-1)[5] = -1;
  const FusedNodes found = list_nodes(batch.indices, batch.padding);
  EXPECT_EQ(found.indices.view(-1)[4].item<int>(), 5);
  EXPECT_EQ(found.indices.view(-1)[5].item<int>(), 0);
  EXPECT_EQ(flags[0].item<int>(), 1);
  EXPECT_EQ(flags[1].item<int>(), 0);
}

TEST_F(FusedEdgesHostTest, ABatchWithoutSetsIsEmpty) {
  const PaddedBatch batch({0, 5, 3, {16, 16, 16}}, {});
  const EdgeBlockModel model = model_of(batch, Precision::bfloat16);
  const BlockTensors block(model, at::kFloat);
  const at::Tensor mean = mean_of(batch, block, Precision::bfloat16);
  mean.sum().backward();
  EXPECT_EQ(mean.size(0), 0);
  for (const at::Tensor& gradient : block.gradients()) EXPECT_EQ(gradient.abs().sum().item<double>(), 0);
}

}  // namespace
}  // namespace bunchtrain::ops::detail
