// SPDX-License-Identifier: Apache-2.0
// Convolutions by kernels of ours from tensors on, as on a GPU but with kernels run by the host, against float64.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <bit>
#include <bunchtrain/device/detail/mma.cuh>
#include <iterator>
#include <ostream>
#include <utility>
#include <vector>

#include "bunchtrain/ops/conv3d.hpp"
#include "bunchtrain/ops/convolution_choices.hpp"
#include "conv3d/chosen_convolution.hpp"
#include "conv3d/direct.hpp"
#include "runtime/host_cuda.hpp"
#include "unit/ops/tensor_helpers.hpp"

namespace bunchtrain::ops::detail {
namespace {

using test::normal_tensor;

struct Layer {
  const char* name;
  Extent3 cells;
  std::int64_t in, out;
  Extent3 kernel;
  Padding3 padding = {};
  Extent3 factor = {1, 1, 1};
  std::int64_t batch = 2;
};

void PrintTo(const Layer& layer, std::ostream* stream) { *stream << layer.name; }

Padding3 around(Extent3 cells) { return Padding3::symmetric(cells); }

/// The layers of both 3DGANs on few cells, and what else could go wrong.
const Layer kLayers[] = {
    {"generator25_1", {2, 3, 2}, 8, 64, {6, 6, 8}, Padding3::same({6, 6, 8}), {1, 1, 1}, 1},
    {"generator25_2", {2, 1, 5}, 64, 6, {6, 5, 8}, around({2, 2, 0}), {2, 2, 2}, 1},
    {"generator25_3", {2, 2, 3}, 6, 6, {3, 3, 8}, around({1, 0, 3}), {2, 2, 3}},
    {"generator25_4", {4, 3, 26}, 6, 1, {2, 2, 2}},
    {"generator51_1", {2, 2, 2}, 8, 8, {6, 6, 8}, {}, {6, 6, 6}, 1},
    {"generator51_2", {3, 4, 5}, 8, 6, {4, 4, 6}, around({2, 2, 1}), {1, 1, 1}, 1},
    {"generator51_3_4", {2, 4, 5}, 6, 6, {4, 4, 6}, around({2, 2, 1}), {1, 1, 1}, 1},
    {"generator51_5", {3, 4, 7}, 6, 6, {3, 3, 5}, around({1, 1, 0})},
    {"generator51_6", {3, 4, 7}, 6, 6, {3, 3, 3}, around({1, 1, 0})},
    {"discriminator25_1", {2, 3, 5}, 1, 32, {5, 5, 5}, Padding3::same({5, 5, 5}), {1, 1, 1}, 1},
    {"discriminator25_2", {2, 2, 4}, 32, 8, {5, 5, 5}, around({2, 2, 2}), {1, 1, 1}, 1},
    {"discriminator25_3", {2, 3, 6}, 8, 8, {5, 5, 5}, around({2, 2, 2}), {1, 1, 1}, 1},
    {"discriminator25_4", {3, 4, 6}, 8, 8, {5, 5, 5}, around({1, 1, 1}), {1, 1, 1}, 1},
    {"discriminator51_1", {2, 3, 5}, 1, 16, {5, 6, 6}, Padding3::same({5, 6, 6}), {1, 1, 1}, 1},
    {"discriminator51_2", {5, 6, 5}, 16, 8, {5, 6, 6}, around({0, 0, 1}), {1, 1, 1}, 1},
    {"discriminator51_3_4", {5, 7, 7}, 8, 8, {5, 6, 6}, {}, {1, 1, 1}, 1},
    {"long_rows", {1, 2, 600}, 3, 8, {1, 1, 3}, around({0, 0, 1}), {1, 1, 1}, 1},
    {"many_tiles", {17, 9, 11}, 2, 3, {2, 1, 2}, {{1, 0, 0}, {0, 0, 1}}, {1, 1, 1}, 1},
    {"one_cell", {1, 1, 1}, 3, 2, {1, 1, 1}},
    {"one_to_one_channel", {4, 5, 6}, 1, 1, {2, 3, 4}, around({1, 1, 1})},
    {"padding_beyond_the_kernel", {3, 3, 3}, 2, 3, {2, 2, 2}, {{3, 0, 2}, {1, 4, 3}}},
    {"uneven_upsampling", {3, 2, 4}, 2, 3, {3, 4, 2}, {{3, 0, 5}, {1, 2, 0}}, {3, 1, 4}},
    {"kernel_below_the_factor", {2, 3, 2}, 2, 1, {2, 1, 3}, {{0, 1, 0}, {0, 0, 2}}, {4, 3, 5}},
};

/// What products see of numbers of `type`, in float64.
at::Tensor operand(const at::Tensor& x, at::ScalarType type) {
  if (type == at::kBFloat16) return x.to(at::kDouble);
  at::Tensor rounded = x.to(at::kFloat).contiguous().clone();
  float* value = rounded.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < rounded.numel(); ++i)
    value[i] = std::bit_cast<float>(device::to_tf32(value[i]));
  return rounded.to(at::kDouble);
}

/// Image, kernels by phases, bias and the gradient of the output.
struct Problem {
  DirectGeometry geometry;
  at::Tensor image, weight, bias, gradient;

  Problem(const Layer& layer, at::ScalarType type)
      : geometry(geometry_of({layer.cells, layer.in, layer.out, layer.kernel, layer.padding, layer.factor})) {
    const auto& [x, y, z] = layer.cells;
    image = normal_tensor({layer.batch, x, y, z, layer.in}, 1, type);
    weight = phase_kernels(
        normal_tensor({layer.out, layer.in, layer.kernel[0], layer.kernel[1], layer.kernel[2]}, 2, type),
        layer.factor, layer.padding);
    bias = normal_tensor({layer.out}, 3, type);
    const auto& [fine_x, fine_y, fine_z] = geometry.fine;
    gradient = normal_tensor({layer.batch, fine_x, fine_y, fine_z, layer.out}, 4, type);
  }

  /// Products of 8 numbers that a sum is made of at most, each truncated.
  double products() const {
    const double taps = static_cast<double>(weight.numel() / weight.size(0) / weight.size(1)),
                 octets = static_cast<double>(std::max(weight.size(0), weight.size(1)) + 7) / 8;
    return std::max(taps * octets, static_cast<double>(gradient.numel() / geometry.channels) / 8);
  }

  bool takes(ConvolutionPass pass) const { return why_not_direct(call(), pass).empty(); }
  DirectCall call() const {
    return {.geometry = geometry, .batch = image.size(0), .type = image.scalar_type(), .tf32 = true};
  }

  /// Output and gradients of image and weight; undefined: not taken.
  std::vector<at::Tensor> results(const ConvolutionTiles& line = convolution_tiles(90)) const {
    std::vector<at::Tensor> all(3);
    if (takes(ConvolutionPass::output)) all[0] = direct_output(image, weight, bias, geometry, line);
    if (takes(ConvolutionPass::image_gradient))
      all[1] = direct_image_gradient(gradient, weight, geometry, line);
    if (takes(ConvolutionPass::weight_gradient))
      all[2] = direct_weight_gradient(gradient, image, geometry, line);
    return all;
  }
  DirectTiles tiles(ConvolutionPass pass, const ConvolutionTiles& line) const {
    const DirectShape shape = shape_of_pass(geometry, image.size(0), pass);
    const auto bytes = static_cast<int>(image.element_size());
    return (pass == ConvolutionPass::weight_gradient ? plan_weight_gradient(shape, bytes, line)
                                                     : plan_convolution(shape, bytes, line))
        .value();
  }
  /// In float64 by the CPU's path, of operands as the kernels round them.
  std::vector<at::Tensor> expected() const;
};

std::vector<at::Tensor> Problem::expected() const {
  const at::ScalarType type = image.scalar_type();
  const at::Tensor x = operand(image, type).requires_grad_(), w = operand(weight, type).requires_grad_();
  Padding3 padding{.before = geometry.before};
  for (std::size_t axis = 0; axis < 3; ++axis)
    padding.after[axis] =
        geometry.outputs[axis] + geometry.kernel[axis] - 1 - geometry.cells[axis] - geometry.before[axis];
  // Cells that are cut off are so before: `ops::conv3d` takes no padding below 0.
  at::Tensor seen = x;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto dimension = static_cast<std::int64_t>(axis) + 1;
    const std::int64_t before = std::max<std::int64_t>(0, -padding.before[axis]),
                       after = std::max<std::int64_t>(0, -padding.after[axis]);
    seen = seen.narrow(dimension, before, seen.size(dimension) - before - after);
    padding.before[axis] = std::max<std::int64_t>(0, padding.before[axis]);
    padding.after[axis] = std::max<std::int64_t>(0, padding.after[axis]);
  }
  const at::Tensor output = sorted_phases(conv3d(seen, w, {}, padding), geometry.factor, geometry.fine);
  const auto gradients = torch::autograd::grad({output}, {x, w}, {operand(gradient, type)});
  return {output.detach() + bias.to(at::kDouble), gradients[0], gradients[1]};
}

double relative_difference(const at::Tensor& value, const at::Tensor& expected) {
  return (value.to(at::kDouble) - expected).abs().max().item<double>() /
         std::max(1e-30, expected.abs().max().item<double>());
}

/// Numbers that nobody has written are NaN.
class DirectConvolutionHostTest : public testing::TestWithParam<Layer> {
 protected:
  void SetUp() override { at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false); }
  void TearDown() override {
    at::globalContext().setDeterministicAlgorithms(false, false);
    host_cuda::set_block_order(host_cuda::BlockOrder::ascending);
  }

  /// bfloat16 results are rounded once.
  static void expect_float64(at::ScalarType type) {
    const Problem problem(GetParam(), type);
    const auto found = problem.results(), expected = problem.expected();
    const double tolerance = type == at::kBFloat16 ? 0x1p-8 : 0x1p-23 * (100 + problem.products());
    EXPECT_TRUE(problem.takes(ConvolutionPass::image_gradient));
    EXPECT_EQ(problem.takes(ConvolutionPass::output), GetParam().out <= 8);
    EXPECT_EQ(problem.takes(ConvolutionPass::weight_gradient), GetParam().out <= 8);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!found[i].defined()) continue;
      ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << i;
      EXPECT_EQ(found[i].scalar_type(), type);
      EXPECT_LT(relative_difference(found[i], expected[i]), tolerance) << i;
    }
  }
};

TEST_P(DirectConvolutionHostTest, EqualsFloat64InBfloat16) { expect_float64(at::kBFloat16); }
TEST_P(DirectConvolutionHostTest, EqualsFloat64InTf32) { expect_float64(at::kFloat); }

INSTANTIATE_TEST_SUITE_P(Layers, DirectConvolutionHostTest, testing::ValuesIn(kLayers),
                         [](const auto& info) { return std::string(info.param.name); });

class DirectBitsHostTest : public DirectConvolutionHostTest {};

void expect_equal(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected) {
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(at::equal(found[i], expected[i])) << i;
}

/// Copies ahead: in small stages and slices, and as much at once as a card of 9.0 holds.
constexpr ConvolutionTiles kAhead[] = {{90, 227, 12, 1, 3, 2, 2}, {90, 227, 200, 24, 16, 2, 2}};

TEST_P(DirectBitsHostTest, AreTheSameInAnyOrderOfThreadsAndBlocks) {
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat}) {
    const Problem problem(GetParam(), type);
    const auto expected = problem.results();
    for (const host_cuda::BlockOrder order :
         {host_cuda::BlockOrder::descending, host_cuda::BlockOrder::random}) {
      host_cuda::set_seed(11);
      host_cuda::set_block_order(order);
      expect_equal(problem.results(), expected);
      expect_equal(problem.results(kAhead[0]), expected);
    }
  }
}

TEST_P(DirectBitsHostTest, AreTheSameWithEveryLineOfTheTable) {
  std::vector<ConvolutionTiles> lines(std::begin(kConvolutionTiles), std::end(kConvolutionTiles));
  lines.insert(lines.end(), std::begin(kAhead), std::end(kAhead));
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat}) {
    const Problem problem(GetParam(), type);
    const auto expected = problem.results();
    for (const ConvolutionTiles& line : lines) {
      SCOPED_TRACE(line.compute_capability);
      expect_equal(problem.results(line), expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layers, DirectBitsHostTest,
    testing::Values(Layer{"phases", {3, 2, 4}, 6, 4, {3, 2, 3}, around({1, 1, 1}), {2, 1, 2}},
                    Layer{"channels", {2, 3, 9}, 20, 8, {2, 1, 3}},
                    Layer{"one_channel", {3, 4, 5}, 1, 3, {2, 2, 3}, around({1, 1, 0})}, kLayers[17]),
    [](const auto& info) { return std::string(info.param.name); });

/// Of eight octets, in slices of one or two, and more tiles than slots.
TEST(DirectTilesHostTest, WhatIsCopiedAheadHasTheBitsOfWhatIsNot) {
  constexpr ConvolutionTiles kSlices = {90, 227, 4, 1, 3, 2, 2};
  const Layer layer{"", {1, 2, 5}, 60, 3, {1, 2, 3}, around({0, 1, 1}), {1, 1, 1}, 200};
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat}) {
    const Problem problem(layer, type);
    const DirectTiles output = problem.tiles(ConvolutionPass::output, kSlices),
                      weight = problem.tiles(ConvolutionPass::weight_gradient, kSlices);
    EXPECT_EQ(output.cell_buffers, 2);
    EXPECT_LT(output.slice, output.octets);
    EXPECT_LT(output.stage, output.slice * output.steps);
    EXPECT_EQ(weight.buffers, 2);
    EXPECT_GT(weight.blocks, 2 * weight.slots);
    expect_equal(problem.results(kSlices), problem.results());
  }
}

TEST(DirectTilesHostTest, EveryLineSuitsItsCards) {
  for (int before = 0; const ConvolutionTiles& line : kConvolutionTiles) {
    EXPECT_GT(line.compute_capability, std::exchange(before, line.compute_capability));
    EXPECT_LE(line.shared_kib, line.block_kib);
    EXPECT_GE(line.block_kib * std::size_t{1024}, kDirectSharedBytes);
    EXPECT_TRUE(line.buffers == 1 || line.buffers == 2) << line.compute_capability;
    EXPECT_TRUE(line.gradient_buffers == 1 || line.gradient_buffers == 2) << line.compute_capability;
    EXPECT_EQ(&convolution_tiles(line.compute_capability), &line);
  }
  EXPECT_EQ(convolution_tiles(103).compute_capability, 90);
}

/// Which layers go our way does not depend on the card.
TEST(DirectTilesHostTest, ALineThatIsTooSmallTakesTilesThatEveryCardHas) {
  constexpr ConvolutionTiles kTiny = {90, 227, 2, 1, 8, 2, 2}, kPlain = {90, 227, 96, 24, 8, 1, 1};
  const Problem problem(kLayers[0], at::kBFloat16);
  const DirectTiles found = problem.tiles(ConvolutionPass::image_gradient, kTiny),
                    expected = problem.tiles(ConvolutionPass::image_gradient, kPlain);
  EXPECT_EQ(found.shared_bytes, expected.shared_bytes);
}

TEST(DirectEmptyBatchHostTest, GivesNothingAndGradientsOfZero) {
  Layer layer = kLayers[2];
  layer.batch = 0;
  const Problem problem(layer, at::kBFloat16);
  const auto found = problem.results();
  EXPECT_EQ(found[0].sizes(), problem.gradient.sizes());
  EXPECT_EQ(found[1].sizes(), problem.image.sizes());
  EXPECT_EQ(found[2].abs().sum().item<double>(), 0);
}

/// Cells of an address that 16 bytes do not divide.
TEST(DirectAlignmentHostTest, ImagesMayBeginAnywhere) {
  Problem problem({"", {2, 3, 4}, 8, 8, {2, 2, 3}, around({1, 1, 1})}, at::kBFloat16);
  const auto expected = problem.results();
  const auto moved = [](const at::Tensor& x) {
    const at::Tensor room = at::empty({x.numel() + 1}, x.options());
    return room.narrow(0, 1, x.numel()).view(x.sizes()).copy_(x);
  };
  problem.image = moved(problem.image);
  problem.weight = moved(problem.weight);
  problem.gradient = moved(problem.gradient);
  expect_equal(problem.results(), expected);
}

/// The autograd function on tensors of the host, all of whose computations go one way.
class ChosenConvolutionHostTest : public testing::TestWithParam<Layer> {
 protected:
  void TearDown() override {
    convolution_choices().always(std::nullopt);
    convolution_choices().measure(false);
    convolution_choices().keep({});
  }

  /// Output and gradients of image, weight and bias.
  static std::vector<at::Tensor> results(const Problem& problem, std::optional<ConvolutionWay> way) {
    convolution_choices().always(way);
    const at::Tensor image = problem.image.clone().requires_grad_(),
                     weight = problem.weight.clone().requires_grad_(),
                     bias = problem.bias.clone().requires_grad_();
    const at::Tensor output = convolve_as_chosen(image, weight, bias, problem.call());
    auto all = torch::autograd::grad({output}, {image, weight, bias}, {problem.gradient});
    all.push_back(output.detach());
    return all;
  }
};

TEST_P(ChosenConvolutionHostTest, BothWaysGiveTheSameUpToTf32) {
  const Problem problem(GetParam(), at::kFloat);
  const auto direct = results(problem, ConvolutionWay::direct),
             library = results(problem, ConvolutionWay::library), plain = problem.results();
  for (std::size_t i = 0; i < direct.size(); ++i) {
    ASSERT_EQ(direct[i].sizes(), library[i].sizes()) << i;
    EXPECT_LT(relative_difference(direct[i], library[i].to(at::kDouble)), 2e-3) << i;
  }
  EXPECT_TRUE(at::equal(direct[0], plain[1]));
  EXPECT_TRUE(at::equal(direct[1], plain[2]));
  EXPECT_TRUE(at::equal(direct[3], plain[0]));
}

TEST_P(ChosenConvolutionHostTest, GradientsOfGradientsAreLibTorchs) {
  const Problem problem(GetParam(), at::kFloat);
  const auto penalty = [&](ConvolutionWay way) {
    convolution_choices().always(way);
    const at::Tensor image = problem.image.clone().requires_grad_(),
                     weight = problem.weight.clone().requires_grad_();
    const at::Tensor output = convolve_as_chosen(image, weight, {}, problem.call());
    const auto slope =
        torch::autograd::grad({output.square().sum()}, {image}, {}, true, /*create_graph=*/true);
    return torch::autograd::grad({slope[0].square().sum()}, {weight}).front();
  };
  const at::Tensor expected = penalty(ConvolutionWay::library).to(at::kDouble);
  EXPECT_LT(relative_difference(penalty(ConvolutionWay::direct), expected), 5e-3);
}

TEST_P(ChosenConvolutionHostTest, EachComputationIsChosenByItself) {
  const Problem problem(GetParam(), at::kFloat);
  convolution_choices().measure(true);
  results(problem, std::nullopt);
  auto choices = convolution_choices().all();
  ASSERT_EQ(choices.size(), 3);
  for (auto& [name, choice] : choices) {
    EXPECT_GT(choice.library_seconds, 0) << name;
    choice.way = name.find("tf32 output") == 0 ? ConvolutionWay::direct : ConvolutionWay::library;
  }
  convolution_choices().keep(choices);
  const auto mixed = results(problem, std::nullopt), direct = results(problem, ConvolutionWay::direct),
             library = results(problem, ConvolutionWay::library);
  EXPECT_TRUE(at::equal(mixed[3], direct[3]));
  EXPECT_TRUE(at::equal(mixed[0], library[0]));
  EXPECT_TRUE(at::equal(mixed[1], library[1]));
}

INSTANTIATE_TEST_SUITE_P(
    Layers, ChosenConvolutionHostTest,
    testing::Values(Layer{"plain", {3, 4, 5}, 6, 6, {3, 2, 3}, {{1, 0, 2}, {0, 1, 1}}},
                    Layer{"phases", {2, 3, 3}, 4, 3, {3, 4, 2}, around({1, 2, 0}), {2, 2, 3}, 1}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(WhyNotDirectTest, SaysWhatTheKernelsDoNotTake) {
  const DirectCall good = Problem({"", {3, 4, 5}, 6, 8, {3, 3, 3}}, at::kFloat).call();
  const auto reason = [&](auto change, ConvolutionPass pass = ConvolutionPass::output) {
    DirectCall call = good;
    change(call);
    return why_not_direct(call, pass);
  };
  EXPECT_EQ(reason([](DirectCall&) {}), "");
  EXPECT_EQ(reason([](DirectCall& c) { c.compute_capability = 75; }),
            "compute capability 7.5; they need 8.0 or later");
  EXPECT_EQ(reason([](DirectCall& c) { c.tf32 = false; }), "exact float32; they take bfloat16 and tf32");
  EXPECT_EQ(reason([](DirectCall& c) { c.type = at::kHalf; }),
            "other numbers than bfloat16 or tf32; they take nothing else");
  EXPECT_EQ(reason([](DirectCall& c) { c.one_type = false; }),
            "other numbers than bfloat16 or tf32; they take nothing else");
  EXPECT_EQ(reason([](DirectCall& c) { c.unit_steps = false; }),
            "a stride or dilation; they take steps of 1");
  const auto wide = [](DirectCall& c) { c.geometry.channels = 32; };
  EXPECT_EQ(reason(wide), "32 output channels; they take 8 at most");
  EXPECT_EQ(reason(wide, ConvolutionPass::image_gradient), "") << "it has the image's channels";
  EXPECT_EQ(reason([](DirectCall& c) {
              c.geometry.cells = {1 << 12, 1 << 12, 1 << 12};
            }),
            "an image whose numbers 31 bits do not count");
  EXPECT_EQ(reason([](DirectCall& c) {
              c.geometry.kernel = {40, 40, 40};
            }),
            "a kernel whose cells do not fit in shared memory");
}

}  // namespace
}  // namespace bunchtrain::ops::detail
