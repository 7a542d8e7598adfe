// SPDX-License-Identifier: Apache-2.0
// EdgeConv by fused passes on a card: as near to float64 as operations are, and the same bits in every run and with all
// tiles that it has room for.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/ops/edge_conv.hpp"
#include "bunchtrain/ops/index_faults.hpp"
#include "edge_conv/cuda/fused_mean.hpp"
#include "edge_conv/fused.hpp"
#include "unit/ops/tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

struct FusedCase {
  const char* name;
  device::Precision precision;
  std::int64_t points, neighbours;
  std::array<std::int64_t, 3> channels;
};

std::ostream& operator<<(std::ostream& out, const FusedCase& c) { return out << c.name; }

constexpr std::int64_t kSets = 24, kFeatures = 12;

/// Sets without padding, with little, with much, with nothing else.
struct FusedBatch {
  at::Tensor features, indices, mask;

  FusedBatch(const FusedCase& c, c10::Device device, at::ScalarType type) {
    const at::Tensor real = at::arange(kSets).mul(17).remainder(c.points + 1);
    mask = at::arange(c.points).unsqueeze(0).lt(real.unsqueeze(1)).to(device);
    features = normal_tensor({kSets, c.points, kFeatures}, 1).to(device, type).mul(mask.unsqueeze(2));
    indices =
        integer_tensor({kSets, c.points, c.neighbours}, static_cast<std::uint64_t>(c.points), 2, at::kInt)
            .to(device);
  }
};

ops::EdgeConvLayers make_layers(const FusedCase& c, c10::Device device, at::ScalarType type) {
  ops::EdgeConvLayers layers;
  std::int64_t from = 2 * kFeatures;
  std::uint64_t seed = 10;
  const auto parameter = [&](at::IntArrayRef sizes, double scale, double shift) {
    return normal_tensor(sizes, seed++).mul(scale).add(shift).to(device, type).requires_grad_();
  };
  for (std::size_t layer = 0; layer < 3; ++layer) {
    const std::int64_t to = c.channels[layer];
    layers.weights[layer] = parameter({to, from}, 1 / std::sqrt(static_cast<double>(from)), 0);
    ops::BatchNormTensors& norm = layers.norms[layer];
    norm.weight = parameter({to}, 0.3, 1);
    norm.bias = parameter({to}, 0.3, 0);
    norm.running_mean = at::zeros({to}, norm.weight.options().requires_grad(false));
    norm.running_var = at::ones({to}, norm.weight.options().requires_grad(false));
    norm.num_batches_tracked = at::zeros({}, at::TensorOptions().dtype(at::kLong).device(device));
    from = to;
  }
  return layers;
}

/// The mean of real points and all gradients, of sum(mean * probe).
std::vector<at::Tensor> step(const FusedCase& c, c10::Device device, at::ScalarType type,
                             device::Precision precision, bool fused, bool recompute = false) {
  const FusedBatch batch(c, device, type);
  ops::EdgeConvLayers layers = make_layers(c, device, type);
  layers.fused = fused;
  layers.recompute = recompute;
  const at::Tensor x = batch.features.clone().requires_grad_();
  at::Tensor mean;
  {
    const device::PrecisionGuard guard(precision, device.type());
    const ops::Padding padding{.mask = batch.mask};
    const std::string reason = ops::why_by_operations(x, batch.indices, padding, layers);
    EXPECT_EQ(reason.empty(), fused || device.is_cpu()) << reason;
    mean = ops::edge_conv(x, batch.indices, padding, layers).mul(batch.mask.unsqueeze(2));
    mean.mul(normal_tensor(mean.sizes(), 3).to(device, type)).sum().backward();
  }
  std::vector<at::Tensor> all = {mean.detach(), x.grad().mul(batch.mask.unsqueeze(2))};
  for (std::size_t layer = 0; layer < 3; ++layer)
    all.insert(all.end(), {layers.weights[layer].grad(), layers.norms[layer].weight.grad(),
                           layers.norms[layer].bias.grad(), layers.norms[layer].running_mean,
                           layers.norms[layer].running_var});
  return all;
}

class FusedEdgesGpuTest : public testing::TestWithParam<FusedCase> {};

TEST_P(FusedEdgesGpuTest, IsAsNearToFloat64AsOperationsAre) {
  const c10::Device card(c10::kCUDA, 0);
  const auto expected = step(GetParam(), c10::kCPU, at::kDouble, device::Precision::float64, false);
  const auto fused = step(GetParam(), card, at::kFloat, GetParam().precision, true),
             rows = step(GetParam(), card, at::kFloat, GetParam().precision, false);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double length = expected[i].norm().item<double>();
    const auto distance = [&](const at::Tensor& found) {
      return found.cpu().to(at::kDouble).sub(expected[i]).norm().item<double>();
    };
    EXPECT_LE(distance(fused[i]), 1.5 * distance(rows[i]) + 2e-3 * length) << i;
  }
}

TEST_P(FusedEdgesGpuTest, GivesTheSameBitsInEveryRunAndWithRecomputedEdges) {
  const c10::Device card(c10::kCUDA, 0);
  const auto first = step(GetParam(), card, at::kFloat, GetParam().precision, true),
             second = step(GetParam(), card, at::kFloat, GetParam().precision, true),
             recomputed = step(GetParam(), card, at::kFloat, GetParam().precision, true, true);
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(second[i].equal(first[i])) << i;
    EXPECT_TRUE(recomputed[i].equal(first[i])) << i;
  }
}

/// The edge part by given tiles: the mean and gradients.
std::vector<at::Tensor> edge_step(const FusedCase& c, const ops::detail::TrainingTiles& tiles) {
  const c10::Device card(c10::kCUDA, 0);
  const FusedBatch batch(c, card, at::kFloat);
  const ops::EdgeConvLayers layers = make_layers(c, card, at::kFloat);
  const at::Tensor terms =
      normal_tensor({kSets * c.points, 2 * c.channels[0]}, 4).to(card, at::kFloat).requires_grad_();
  const at::Tensor mean = ops::detail::mean_over_fused_edges(
      layers, terms, ops::detail::list_nodes(batch.indices, {.mask = batch.mask}),
      {c.precision, {.tiles = tiles}});
  mean.mul(normal_tensor(mean.sizes(), 3).to(card, at::kFloat)).sum().backward();
  std::vector<at::Tensor> all = {mean.detach(), terms.grad(), layers.weights[1].grad(),
                                 layers.weights[2].grad()};
  for (const ops::BatchNormTensors& norm : layers.norms)
    all.insert(all.end(), {norm.weight.grad(), norm.bias.grad(), norm.running_mean});
  return all;
}

/// Tiles of all passes with columns up to `columns`, with stages where the card has room for them.
ops::detail::TrainingTiles tiles_that_fit(const FusedCase& c, int width, int columns, int stages) {
  namespace detail = ops::detail;
  const std::int64_t room = detail::fused_card(c10::Device(c10::kCUDA, 0)).shared_bytes;
  return detail::with_edges_of(c.precision, [&]<class S>(S) {
    detail::TrainingTiles tiles;
    for (const detail::EdgePass pass : detail::kEdgePasses) {
      const auto fits = [&](const detail::PassTiles& some) {
        return static_cast<std::int64_t>(
                   detail::pass_bytes<S>(pass, width, some, static_cast<int>(c.points))) <= room;
      };
      detail::PassTiles& own = tiles.passes[static_cast<int>(pass)];
      own = {std::min(columns, detail::most_columns<S>(pass, width)), stages};
      if (!fits(own)) own.stages = 1;
      while (!fits(own) && own.columns > 64) own.columns /= 2;
    }
    return tiles;
  });
}

TEST_P(FusedEdgesGpuTest, HasTheSameBitsWithAllTiles) {
  const FusedCase& c = GetParam();
  const int width = ops::detail::fused_width(static_cast<int>(std::ranges::max(c.channels)));
  const auto expected = edge_step(c, {});
  for (int columns = 64; columns <= width; columns *= 2)
    for (const int stages : {1, 2}) {
      const auto found = edge_step(c, tiles_that_fit(c, width, columns, stages));
      for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_TRUE(found[i].equal(expected[i])) << i << ", " << columns << " columns, stages " << stages;
    }
}

/// The mean of real points with running statistics and without gradients: by one launch, if fused.
at::Tensor evaluated(const FusedCase& c, c10::Device device, at::ScalarType type, device::Precision precision,
                     bool fused) {
  const c10::NoGradGuard no_gradients;
  const FusedBatch batch(c, device, type);
  ops::EdgeConvLayers layers = make_layers(c, device, type);
  layers.fused = fused;
  for (ops::BatchNormTensors& norm : layers.norms) norm.training = false;
  const device::PrecisionGuard guard(precision, device.type());
  return ops::edge_conv(batch.features, batch.indices, {.mask = batch.mask}, layers)
      .mul(batch.mask.unsqueeze(2))
      .cpu()
      .to(at::kDouble);
}

TEST_P(FusedEdgesGpuTest, EvaluatesAsNearToFloat64AsOperationsDo) {
  const c10::Device card(c10::kCUDA, 0);
  const device::Precision precision = GetParam().precision;
  const at::Tensor expected =
                       evaluated(GetParam(), c10::kCPU, at::kDouble, device::Precision::float64, false),
                   rows = evaluated(GetParam(), card, at::kFloat, precision, false),
                   found = evaluated(GetParam(), card, at::kFloat, precision, true);
  EXPECT_LE(found.sub(expected).norm().item<double>(),
            1.5 * rows.sub(expected).norm().item<double>() + 2e-3 * expected.norm().item<double>());
  EXPECT_TRUE(evaluated(GetParam(), card, at::kFloat, precision, true).equal(found));
}

/// A whole block of an evaluated network: on a card at once where `fused`, else put together.
at::Tensor evaluated_block(const FusedCase& c, c10::Device device, at::ScalarType type,
                           device::Precision precision, bool fused) {
  const c10::NoGradGuard no_gradients;
  const FusedBatch batch(c, device, type);
  ops::EdgeConvLayers layers = make_layers(c, device, type);
  for (ops::BatchNormTensors& norm : layers.norms) norm.training = false;
  ops::EdgeConvShortcut shortcut{
      .weight = normal_tensor({c.channels[2], kFeatures}, 50).mul(0.3).to(device, type),
      .norm = layers.norms[2]};
  const ops::Padding padding{.mask = batch.mask};
  const device::PrecisionGuard guard(precision, device.type());
  at::Tensor out;
  if (fused) {
    const auto found = ops::evaluated_edge_conv(batch.features, batch.indices, padding, layers, shortcut);
    EXPECT_TRUE(found.has_value());
    if (found) out = *found;
  } else {
    layers.fused = false;
    const at::Tensor mean = ops::edge_conv(batch.features, batch.indices, padding, layers);
    const at::Tensor beside = at::linear(batch.features, shortcut.weight).to(type);
    const ops::BatchNormTensors& norm = shortcut.norm;
    const at::Tensor normal =
        (beside - norm.running_mean) * norm.running_var.add(norm.epsilon).rsqrt() * norm.weight + norm.bias;
    out = at::relu(mean + normal).mul(batch.mask.unsqueeze(2));
  }
  return out.cpu().to(at::kDouble);
}

TEST_P(FusedEdgesGpuTest, EvaluatesWholeBlocksAsNearToFloat64AsOperationsDo) {
  const c10::Device card(c10::kCUDA, 0);
  const device::Precision precision = GetParam().precision;
  const at::Tensor expected =
                       evaluated_block(GetParam(), c10::kCPU, at::kDouble, device::Precision::float64, false),
                   rows = evaluated_block(GetParam(), card, at::kFloat, precision, false),
                   found = evaluated_block(GetParam(), card, at::kFloat, precision, true);
  EXPECT_LE(found.sub(expected).norm().item<double>(),
            1.5 * rows.sub(expected).norm().item<double>() + 2e-3 * expected.norm().item<double>());
}

constexpr FusedCase kCases[] = {
    {"bfloat16_64", device::Precision::bfloat16, 128, 16, {64, 64, 64}},
    {"bfloat16_128", device::Precision::bfloat16, 100, 16, {128, 128, 128}},
    {"bfloat16_256", device::Precision::bfloat16, 128, 16, {256, 256, 256}},
    {"bfloat16_odd", device::Precision::bfloat16, 33, 9, {50, 61, 43}},
    {"tf32_64", device::Precision::tf32, 128, 16, {64, 64, 64}},
    {"tf32_128", device::Precision::tf32, 40, 16, {128, 128, 128}},
    {"float32_64", device::Precision::float32, 128, 16, {64, 64, 64}},
    {"float32_odd", device::Precision::float32, 33, 9, {50, 61, 43}},
};

INSTANTIATE_TEST_SUITE_P(Shapes, FusedEdgesGpuTest, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(FusedEdgesIndexGpuTest, ABadIndexRaisesAFlag) {
  const c10::Device card(c10::kCUDA, 0);
  const FusedCase c = kCases[0];
  FusedBatch batch(c, card, at::kFloat);
  batch.mask.fill_(true);
  batch.indices.view(-1)[7] = 1 << 30;
  const device::PrecisionGuard guard(c.precision, c10::kCUDA);
  ops::edge_conv(batch.features, batch.indices, {.mask = batch.mask}, make_layers(c, card, at::kFloat));
  const at::Tensor flags = ops::index_faults(card);
  EXPECT_THROW(ops::require_no_index_faults(device::LateCopy(flags).values()), ConfigError);
  flags.zero_();
}

}  // namespace
}  // namespace bunchtrain::test
