// SPDX-License-Identifier: Apache-2.0
// Layers on slabs along one and two axes against the same layers on whole images, in float64: values, gradients, gradients of
// gradients.
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <array>
#include <functional>

#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/nn/average_pool.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/dropout.hpp"
#include "bunchtrain/nn/sample_norm.hpp"
#include "bunchtrain/nn/slab_layers.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/nn/transposed_conv3d.hpp"
#include "bunchtrain/parallel/spatial_partition.hpp"
#include "parallel_fixture.hpp"
#include "pipeline/held_bytes.hpp"

namespace bunchtrain::parallel {
namespace {

using ops::Extent3;
using ops::Padding3;

/// What is along x, y, z turned to y, z, x (1) or z, x, y (2).
template <class T>
std::array<T, 3> turned(const std::array<T, 3>& along, std::size_t turn) {
  std::array<T, 3> found;
  for (std::size_t axis = 0; axis < 3; ++axis) found[(axis + turn) % 3] = along[axis];
  return found;
}
Padding3 turned(const Padding3& padding, std::size_t turn) {
  return {turned(padding.before, turn), turned(padding.after, turn)};
}

/// Whole images in and out, slabs between.
struct Between : torch::nn::Module {
  template <class Layer>
  Between(Extent3 cells, Layer layer)
      : slab(register_module("slab", nn::ToSlab(nn::ToSlabOptions{.cells = cells}))),
        whole(register_module("whole", nn::ToWhole())),
        middle([layer](const at::Tensor& x) mutable { return layer->forward(x); }) {
    register_module("layer", layer);
    to(at::kDouble);
  }
  at::Tensor forward(const at::Tensor& image) { return whole->forward(middle(slab->forward(image))); }

  nn::ToSlab slab;
  nn::ToWhole whole;
  std::function<at::Tensor(const at::Tensor&)> middle;
};

/// What a network does to an image, and its derivatives.
struct Found {
  at::Tensor output = {}, of_image = {};
  std::vector<at::Tensor> of_parameters = {}, of_parameters_twice = {};
};

class SpatialLayersTest : public ParallelTest {
 protected:
  std::shared_ptr<nn::SpatialPartition> partition_ = create_spatial_partition(communicator_);

  /// All ranks along the first axis, and along the first two: of each the turns to the other axes.
  std::vector<std::array<int, 3>> grids() const {
    if (world() == 4) return {{4, 1, 1}, {2, 2, 1}};
    return {{world(), 1, 1}};
  }

  /// The sum of the ranks' shares, as an engine sums gradients.
  at::Tensor summed(const at::Tensor& share) {
    at::Tensor sum = share.detach().clone(at::MemoryFormat::Contiguous);
    communicator_.all_reduce(sum).wait();
    return sum;
  }

  Found derive(Between& network, const at::Tensor& image, bool on_slabs, bool twice) {
    twice = twice && !network.parameters().empty();
    const nn::StepContext context(3, 5, at::arange(image.size(0)) + 20);
    const double share = on_slabs ? 1.0 / world() : 1;
    const at::Tensor leaf = image.clone().set_requires_grad(true);
    Found found{.output = network.forward(leaf)};
    const at::Tensor weights = at::arange(found.output.numel(), at::kDouble).sin().view(found.output.sizes());
    const at::Tensor loss = (found.output * weights + found.output.square()).sum() * share;
    std::vector<at::Tensor> leaves = network.parameters();
    leaves.insert(leaves.begin(), leaf);
    auto once = torch::autograd::grad({loss}, leaves, {}, /*retain_graph=*/twice, /*create_graph=*/twice);
    const auto over_ranks = [&](const at::Tensor& tensor) {
      return on_slabs ? summed(tensor) : tensor.detach();
    };
    if (twice) {
      const at::Tensor slope = on_slabs ? partition_->sum(once[0]) : once[0];
      for (const at::Tensor& gradient : torch::autograd::grad(
               {slope.square().sum() * share}, network.parameters(), {}, std::nullopt, false, true))
        found.of_parameters_twice.push_back(gradient.defined() ? over_ranks(gradient) : gradient);
    }
    found.of_image = over_ranks(once[0]);
    for (std::size_t i = 1; i < once.size(); ++i) found.of_parameters.push_back(over_ranks(once[i]));
    return found;
  }

  void expect_equal_to_one_rank(Between& network, const at::Tensor& image, bool twice = true) {
    nn::set_partition(network, nullptr);
    const Found expected = derive(network, image, false, twice);
    nn::set_partition(network, partition_);
    for (int pass = 0; pass < 2; ++pass) {  // the first meets
      const Found found = derive(network, image, true, twice);
      ASSERT_EQ(found.output.sizes(), expected.output.sizes());
      expect_close(found.output, expected.output);
      expect_close(found.of_image, expected.of_image);
      for (std::size_t i = 0; i < expected.of_parameters.size(); ++i)
        expect_close(found.of_parameters[i], expected.of_parameters[i]);
      for (std::size_t i = 0; i < expected.of_parameters_twice.size(); ++i)
        if (expected.of_parameters_twice[i].defined())
          expect_close(found.of_parameters_twice[i], expected.of_parameters_twice[i]);
    }
  }
};

at::Tensor image(Extent3 cells, std::int64_t channels) {
  torch::manual_seed(5);
  return at::randn({2, cells[0], cells[1], cells[2], channels}, at::kDouble);
}

void fill(torch::nn::Module& layer) {
  const at::NoGradGuard no_gradients;
  for (at::Tensor& parameter : layer.parameters())
    parameter.copy_(at::arange(parameter.numel(), at::kFloat).mul(0.7).cos().view(parameter.sizes()));
}

nn::Conv3d convolution(const nn::Conv3dOptions& options) {
  nn::Conv3d layer(options);
  fill(*layer);
  return layer;
}

/// In one convolution behind the halo, and in parts beside it.
class SpatialConvolutionsTest : public SpatialLayersTest, public testing::WithParamInterface<bool> {
 protected:
  SpatialConvolutionsTest() { lay({}); }
  void lay(const std::array<int, 3>& grid) {
    partition_ = create_spatial_partition(communicator_, {.grid = grid, .overlaps = GetParam()});
  }
};
INSTANTIATE_TEST_SUITE_P(Overlaps, SpatialConvolutionsTest, testing::Bool());

TEST_P(SpatialConvolutionsTest, EqualOneRank) {
  struct Case {
    std::int64_t cells;
    Extent3 kernel;
    Padding3 padding;
    Extent3 upsampling = {1, 1, 1};
    bool bias = true;
    Extent3 stride = {1, 1, 1}, dilation = {1, 1, 1};
  };
  const std::vector<Case> cases = {
      {9, {3, 3, 3}, Padding3::same({3, 3, 3})},
      {4, {5, 2, 3}, Padding3::same({5, 2, 3})},                         // halos beyond thin neighbours
      {7, {6, 3, 2}, {{2, 1, 0}, {3, 1, 0}}},                            // even kernel, sides differ
      {11, {4, 3, 3}, Padding3::symmetric({0, 1, 1})},                   // borders move
      {6, {2, 2, 2}, Padding3::symmetric({3, 0, 0}), {1, 1, 1}, false},  // outputs of padding alone
      {7, {6, 5, 4}, Padding3::symmetric({2, 2, 0}), {2, 2, 2}},
      {5, {3, 3, 8}, Padding3::symmetric({1, 0, 3}), {3, 2, 3}},
      {4, {6, 6, 6}, {}, {6, 6, 6}},
      {23, {5, 2, 2}, Padding3::symmetric({2, 0, 1})},  // an interior on every rank
      {13, {3, 2, 2}, {{1, 0, 0}, {1, 1, 0}}},          // on four ranks the interiors differ
      {25, {4, 2, 3}, {}},
      {8, {1, 1, 1}, {}},
      {.cells = 17, .kernel = {3, 3, 3}, .padding = Padding3::same({3, 3, 3}), .stride = {2, 1, 2}},
      {.cells = 19, .kernel = {2, 2, 2}, .padding = {}, .stride = {3, 2, 1}},  // cells that nobody sees
      {.cells = 21, .kernel = {3, 2, 2}, .padding = Padding3::symmetric({2, 0, 0}), .dilation = {2, 1, 1}},
      {.cells = 24,
       .kernel = {3, 3, 2},
       .padding = {{3, 1, 0}, {2, 1, 1}},
       .stride = {2, 2, 1},
       .dilation = {3, 1, 2}}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& one = cases[i];
    SCOPED_TRACE(testing::Message() << "cells " << one.cells << ", kernel " << one.kernel[0]
                                    << ", upsampling " << one.upsampling[0] << ", stride " << one.stride[0]
                                    << ", dilation " << one.dilation[0]);
    for (std::size_t turn = 0; turn < 3; ++turn) {
      const Extent3 cells = turned<std::int64_t>({one.cells, 5, 6}, turn);
      Between network(cells, convolution({.in_channels = 2,
                                          .out_channels = 3,
                                          .kernel = turned(one.kernel, turn),
                                          .padding = turned(one.padding, turn),
                                          .upsampling = turned(one.upsampling, turn),
                                          .stride = turned(one.stride, turn),
                                          .dilation = turned(one.dilation, turn),
                                          .bias = one.bias}));
      for (const auto& grid : grids()) {
        // All along x; a third of them each along y, z, and two axes.
        if (i % 3 != turn && (turn > 0 || grid[1] > 1)) continue;
        SCOPED_TRACE(testing::Message() << grid[0] << " x " << grid[1] << ", turned by " << turn);
        lay(turned(grid, turn));
        expect_equal_to_one_rank(network, image(cells, 2));
      }
    }
  }
}

TEST_P(SpatialConvolutionsTest, HoldNothingButSlabHaloAndOutput) {
  constexpr std::int64_t kCells = 24, kPlane = 5 * 6 * 2 * 8 * 2;  // bytes of a plane of both images
  const Extent3 cells = {kCells, 5, 6};
  Between network(
      cells,
      convolution(
          {.in_channels = 2, .out_channels = 2, .kernel = {3, 3, 3}, .padding = Padding3::same({3, 3, 3})}));
  nn::set_partition(network, partition_);
  const at::Tensor slab = network.slab->forward(image(cells, 2)).contiguous().set_requires_grad(true);
  network.middle(slab);  // the ranks meet
  const HeldBytes held;
  const at::Tensor output = network.middle(slab);
  // In parts: two halos at most, and output.
  EXPECT_LE(held.now(), (output.size(1) + 2) * kPlane);
}

/// Halos of backward arrive where the slab's own gradient is known, in each backward anew.
TEST_P(SpatialConvolutionsTest, AGraphThatIsKeptIsDifferentiatedAgain) {
  const Extent3 cells = {16, 5, 6};
  Between network(
      cells,
      convolution(
          {.in_channels = 2, .out_channels = 3, .kernel = {3, 3, 3}, .padding = Padding3::same({3, 3, 3})}));
  nn::set_partition(network, partition_);
  const at::Tensor leaf = image(cells, 2).set_requires_grad(true);
  const at::Tensor loss = network.forward(leaf).square().sum();
  const auto gradient = [&](bool keep) {
    return torch::autograd::grad({loss}, {leaf}, {}, keep).front().clone();
  };
  const at::Tensor once = gradient(true);
  EXPECT_GT(summed(once).abs().min().item<double>(), 0);
  EXPECT_TRUE(gradient(true).equal(once));
  EXPECT_TRUE(gradient(false).equal(once));
}

TEST_F(SpatialLayersTest, TransposedConvolutionsEqualOneRank) {
  struct Case {
    std::int64_t cells;
    Extent3 kernel, stride;
    Padding3 padding;
  };
  for (const Case& one : std::vector<Case>{{4, {2, 2, 2}, {2, 2, 2}, {}},
                                           {7, {4, 2, 3}, {2, 2, 1}, Padding3::symmetric({1, 0, 1})},
                                           {6, {5, 3, 2}, {3, 1, 2}, {{2, 1, 0}, {0, 1, 1}}},
                                           {9, {3, 3, 3}, {1, 1, 1}, Padding3::symmetric({1, 1, 1})}}) {
    for (std::size_t turn = 0; turn < 3; ++turn) {
      nn::TransposedConv3d layer(nn::TransposedConv3dOptions{.in_channels = 2,
                                                             .out_channels = 3,
                                                             .kernel = turned(one.kernel, turn),
                                                             .stride = turned(one.stride, turn),
                                                             .padding = turned(one.padding, turn)});
      fill(*layer);
      const Extent3 cells = turned<std::int64_t>({one.cells, 5, 6}, turn);
      Between network(cells, layer);
      for (const auto& grid : grids()) {
        SCOPED_TRACE(testing::Message() << "cells " << one.cells << ", kernel " << one.kernel[0] << ", "
                                        << grid[0] << " x " << grid[1] << ", turned by " << turn);
        partition_ = create_spatial_partition(communicator_, {.grid = turned(grid, turn)});
        expect_equal_to_one_rank(network, image(cells, 2));
      }
    }
  }
}

TEST_F(SpatialLayersTest, PoolingAndNormsEqualOneRank) {
  for (const std::int64_t along : {8, 9, 11})
    for (std::size_t turn = 0; turn < 3; ++turn)
      for (const auto& grid : grids()) {
        partition_ = create_spatial_partition(communicator_, {.grid = turned(grid, turn)});
        const Extent3 cells = turned<std::int64_t>({along, 5, 6}, turn);
        Between pool(cells, nn::AveragePool(nn::AveragePoolOptions{}));
        expect_equal_to_one_rank(pool, image(cells, 3));
        Between sample_norm(cells, nn::SampleNorm(nn::SampleNormOptions{}));
        expect_equal_to_one_rank(sample_norm, image(cells, 3));
      }
}

TEST_F(SpatialLayersTest, BatchNormCountsAllSlabs) {
  const Extent3 cells = {7, 5, 6};
  Between one(cells, nn::BatchNorm(nn::BatchNormOptions{.channels = 3}));
  const Found expected = derive(one, image(cells, 3), false, false);
  Between network(cells, nn::BatchNorm(nn::BatchNormOptions{.channels = 3}));
  nn::set_partition(network, create_spatial_partition(communicator_, {.grid = grids().back()}));
  const Found found = derive(network, image(cells, 3), true, false);
  expect_close(found.output, expected.output);
  expect_close(found.of_image, expected.of_image);
  for (std::size_t i = 0; i < expected.of_parameters.size(); ++i)
    expect_close(found.of_parameters[i], expected.of_parameters[i]);
  const auto ours = network.buffers(), theirs = one.buffers();
  for (std::size_t i = 0; i < theirs.size(); ++i) EXPECT_TRUE(at::allclose(ours[i], theirs[i], 1e-12));
}

TEST_F(SpatialLayersTest, DropoutDropsWhatTheWholeImageWould) {
  Between network({10, 4, 5}, nn::Dropout(nn::DropoutOptions{.probability = 0.4, .site = 2}));
  const at::Tensor ones = at::ones({2, 10, 4, 5, 7}, at::kDouble);
  const Found expected = derive(network, ones, false, false);
  for (std::size_t turn = 0; turn < 3; ++turn)
    for (const auto& grid : grids()) {
      nn::set_partition(network, create_spatial_partition(communicator_, {.grid = turned(grid, turn)}));
      const Found found = derive(network, ones, true, false);
      EXPECT_TRUE(found.output.equal(expected.output));
      expect_close(found.of_image, expected.of_image);
    }
}

struct Dropping : torch::nn::Module {
  Dropping() { to(at::kDouble); }
  at::Tensor forward(const at::Tensor& image) {
    return whole->forward(last->forward(dropout->forward(first->forward(slab->forward(image)))));
  }

  nn::Conv3dOptions options = {
      .in_channels = 2, .out_channels = 2, .kernel = {3, 3, 3}, .padding = Padding3::same({3, 3, 3})};
  nn::ToSlab slab = register_module("slab", nn::ToSlab(nn::ToSlabOptions{.cells = {9, 5, 6}}));
  nn::Conv3d first = register_module("first", convolution(options));
  nn::Dropout dropout =
      register_module("dropout", nn::Dropout(nn::DropoutOptions{.probability = 0.4, .site = 2}));
  nn::Conv3d last = register_module("last", convolution(options));
  nn::ToWhole whole = register_module("whole", nn::ToWhole());
};

TEST_F(SpatialLayersTest, AReplicaWithoutSamplesTakesPart) {
  if (world() % 2 != 0) return;
  comm::Mesh mesh(communicator_,
                  comm::MeshShape::parse("data=2,spatial=" + std::to_string(world() / 2), world()));
  const auto alone = std::make_shared<Dropping>(), together = std::make_shared<Dropping>();
  DataParallel parallel(together, communicator_, {.spatial = mesh.axis(comm::Axis::spatial)});
  const at::Tensor one = image({9, 5, 6}, 2).narrow(0, 0, 1);
  const std::int64_t share = mesh.coordinate(comm::Axis::data) == 0 ? 1 : 0;
  {
    const nn::StepContext context(3, 5, at::arange(share) + 20);
    const at::Tensor output = together->forward(one.narrow(0, 0, share));
    parallel.backward(share > 0 ? output.square().mean() : output.sum(),
                      {.samples = share, .global_samples = 1});
  }
  const nn::StepContext context(3, 5, at::arange(1) + 20);
  alone->forward(one).square().mean().backward();
  expect_same_gradients(*together, *alone);
  mesh.close();
}

/// As a loader may read it, along x.
TEST_F(SpatialLayersTest, ASlabThatIsOneStaysAsItIs) {
  nn::ToSlab slab(nn::ToSlabOptions{.cells = {9, 5, 6}});
  slab->set_partition(create_spatial_partition(communicator_, {.grid = grids().back()}));
  const at::Tensor whole = image({9, 5, 6}, 2), mine = slab->forward(whole);
  const nn::CellRange x = slab->slabs()[0].of(rank() / grids().back()[1]);
  EXPECT_EQ(mine.size(1), x.size());
  EXPECT_TRUE(slab->forward(mine).equal(mine));
  EXPECT_TRUE(slab->forward(whole.narrow(1, x.begin, x.size())).equal(mine));
}

TEST_F(SpatialLayersTest, SlabsThatDoNotLieSideBySideAreRefusedByAll) {
  if (world() != 4) return;
  nn::AveragePool pool;
  pool->set_partition(create_spatial_partition(communicator_, {.grid = {2, 2, 1}}));
  EXPECT_THAT(
      refusal([&] {
        pool->forward(at::ones({1, rank() == 1 ? 6 : 4, 4, 4, 1}));
      }),
      testing::HasSubstr("rank 1 of a layer's slabs has 6 cells along x where others of its place have 4"));
  EXPECT_THAT(refusal([&] {
                create_spatial_partition(communicator_, {.grid = {2, 1, 1}});
              }),
              testing::HasSubstr("as many slabs as ranks, 4"));
}

TEST_F(SpatialLayersTest, ImagesOfAnotherLengthAreRefused) {
  if (world() == 1) return;
  nn::Conv3d layer = convolution({.kernel = {3, 3, 3}, .padding = Padding3::same({3, 3, 3})});
  layer->set_partition(partition_);
  layer->forward(at::ones({1, 3, 4, 4, 1}));
  EXPECT_THAT(refusal([&] {
                layer->forward(at::ones({1, 4, 4, 4, 1}));
              }),
              testing::HasSubstr("a layer that works on slabs of 3 x 4 x 4 cells got 4 x 4 x 4"));
}

}  // namespace
}  // namespace bunchtrain::parallel
