// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/axis_cut.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <array>
#include <functional>
#include <set>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/slab_layers.hpp"

namespace bunchtrain::nn {
namespace {

using testing::HasSubstr;

/// The input cells that an output sees, by the definition.
std::set<std::int64_t> seen(const AxisWindow& window, std::int64_t output, std::int64_t extent) {
  std::set<std::int64_t> cells;
  for (std::int64_t t = 0; t < window.kernel; ++t) {
    const std::int64_t fine = output * window.stride - window.before + t * window.dilation;
    if (fine >= 0 && fine < extent * window.upsampling) cells.insert(fine / window.upsampling);
  }
  return cells;
}

/// As many outputs as have all their taps within the padded input.
std::int64_t counted_outputs(const AxisWindow& window, std::int64_t extent) {
  std::int64_t outputs = 0;
  const std::int64_t padded = extent * window.upsampling + window.before + window.after;
  while (outputs * window.stride + (window.kernel - 1) * window.dilation < padded) ++outputs;
  return outputs;
}

void check_window(const AxisWindow& window, std::int64_t extent) {
  const std::int64_t outputs = window.outputs(extent);
  ASSERT_EQ(outputs, counted_outputs(window, extent));
  for (std::int64_t begin = 0; begin < outputs; ++begin)
    for (std::int64_t end = begin + 1; end <= outputs; ++end) {
      std::set<std::int64_t> all;
      for (std::int64_t o = begin; o < end; ++o) all.merge(seen(window, o, extent));
      const CellRange range = window.inputs_of({begin, end}, extent);
      if (all.empty()) continue;  // padding alone
      // A dilated or strided window skips cells, but not the first and the last.
      ASSERT_TRUE(range.begin <= *all.begin() && range.end > *all.rbegin());
      if (window.dilation == 1 && window.stride <= window.kernel) {
        ASSERT_EQ(range, (CellRange{*all.begin(), *all.rbegin() + 1}));
      }
    }
  for (std::int64_t first = 0; first < extent; ++first)
    for (std::int64_t end = first + 1; end <= extent; ++end) {
      const CellRange within = window.outputs_within({first, end}, extent);
      for (std::int64_t o = 0; o < outputs; ++o) {
        const auto cells = seen(window, o, extent);
        const bool known = cells.empty() || (*cells.begin() >= first && *cells.rbegin() < end);
        if (o >= within.begin && o < within.end) {
          ASSERT_TRUE(known);
        }
      }
    }
}

TEST(AxisCutTest, WindowsSeeWhatTheDefinitionSays) {
  for (const std::int64_t kernel : {1, 2, 3, 6})
    for (const std::int64_t stride : {1, 2, 3})
      for (const std::int64_t dilation : {1, 2})
        for (const std::int64_t upsampling : {1, 2, 3})
          for (const auto& [before, after] : {std::pair{0, 0}, {1, 1}, {2, 3}, {0, 2}})
            for (const std::int64_t extent : {1, 4, 7})
              check_window({kernel, stride, dilation, before, after, upsampling}, extent);
}

TEST(AxisCutTest, TransposedWindowsSeeWhatTheDefinitionSays) {
  for (const std::int64_t kernel : {1, 2, 3, 5})
    for (std::int64_t stride = 1; stride <= kernel; ++stride)
      for (const auto& [before, after] : {std::pair{0, 0}, {1, 0}, {1, 1}, {0, 2}})
        for (const std::int64_t extent : {2, 4, 7}) {
          const TransposedWindow window{kernel, stride, before, after};
          std::vector<std::set<std::int64_t>> all(static_cast<std::size_t>(window.outputs(extent)));
          for (std::int64_t i = 0; i < extent; ++i)
            for (std::int64_t t = 0; t < kernel; ++t)
              if (const std::int64_t o = i * stride - before + t; o >= 0 && o < std::ssize(all))
                all[static_cast<std::size_t>(o)].insert(i);
          EXPECT_EQ(std::ssize(all),
                    std::max<std::int64_t>(0, (extent - 1) * stride + kernel - before - after));
          for (std::int64_t begin = 0; begin < std::ssize(all); ++begin)
            for (std::int64_t end = begin + 1; end <= std::ssize(all); ++end) {
              std::set<std::int64_t> cells;
              for (std::int64_t o = begin; o < end; ++o)
                cells.insert(all[static_cast<std::size_t>(o)].begin(),
                             all[static_cast<std::size_t>(o)].end());
              ASSERT_FALSE(cells.empty());
              ASSERT_EQ(window.inputs_of({begin, end}, extent),
                        (CellRange{*cells.begin(), *cells.rbegin() + 1}));
            }
        }
}

TEST(AxisCutTest, SlabsAreBalancedAndWhole) {
  for (std::int64_t extent = 1; extent < 20; ++extent)
    for (int ranks = 1; ranks <= extent; ++ranks) {
      const AxisCut cut = AxisCut::balanced(extent, ranks);
      EXPECT_EQ(cut.extent(), extent);
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(cut.of(rank).begin, next);
        EXPECT_GE(cut.of(rank).size(), extent / ranks);
        EXPECT_LE(cut.of(rank).size(), extent / ranks + 1);
        next = cut.of(rank).end;
      }
      EXPECT_EQ(next, extent);
    }
  const AxisCut blocks = AxisCut::balanced(28, 2, 4);
  EXPECT_EQ(blocks.of(0), (CellRange{0, 16}));
  EXPECT_EQ(blocks.of(1), (CellRange{16, 28}));
}

TEST(AxisCutTest, AnAxisThatKeepsItsLengthKeepsItsBorders) {
  const std::array<std::int64_t, 3> cells = {1, 5, 2};
  const AxisCut uneven(cells);
  EXPECT_EQ(output_cut(uneven, AxisWindow{.kernel = 3, .before = 1, .after = 1}), uneven);
  EXPECT_EQ(output_cut(uneven, AxisWindow{.kernel = 3}), AxisCut::balanced(6, 3));
  EXPECT_EQ(output_cut(uneven, AxisWindow{.kernel = 2, .stride = 2}), AxisCut::balanced(4, 3));
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(AxisCutTest, TooShortAxesAreRefused) {
  EXPECT_THAT(
      refusal([] { AxisCut::balanced(3, 4); }),
      HasSubstr(
          "an axis of 3 cells cannot be cut into 4 slabs: give the spatial axis of the mesh at most 3"));
  EXPECT_THAT(refusal([] { AxisCut::balanced(28, 8, 4); }), HasSubstr("at multiples of 4 only"));
  EXPECT_THAT(refusal([] { output_cut(AxisCut::balanced(4, 4), AxisWindow{.kernel = 2, .stride = 2}); }),
              HasSubstr("an axis of 2 cells"));
}

TEST(AxisCutTest, ImagesAreCutAxisByAxis) {
  const ImageCut cut = balanced_cut({9, 8, 4}, {2, 3, 1}, {1, 2, 1});
  EXPECT_EQ(cut[0], AxisCut::balanced(9, 2));
  EXPECT_EQ(cut[1], AxisCut::balanced(8, 3, 2));
  EXPECT_EQ(cut[2].ranks(), 1);
  EXPECT_EQ(leading_axis(cut), 0U);
  EXPECT_EQ(leading_axis(balanced_cut({9, 8, 4}, {1, 1, 2})), 2U);
  const std::array<AxisWindow, 3> windows = {
      {{.kernel = 3, .before = 1, .after = 1}, {.kernel = 2, .stride = 2}, {.kernel = 4}}};
  const ImageCut outputs = output_cut(cut, windows);
  EXPECT_EQ(outputs[0], cut[0]);
  EXPECT_EQ(outputs[1], AxisCut::balanced(4, 3));
  EXPECT_EQ(outputs[2], AxisCut::balanced(1, 1));
  const WantedCells wanted = inputs_of(outputs, windows, cut);
  EXPECT_EQ(wanted[0][1], (CellRange{4, 9}));
  EXPECT_EQ(wanted[1][0], (CellRange{0, 4}));
  EXPECT_EQ(wanted[2][0], (CellRange{0, 4}));
  EXPECT_THAT(refusal([&] { balanced_cut({9, 2, 4}, {1, 3, 1}); }), HasSubstr("cut along y"));
}

/// Two ranks along x, of which only their number is asked.
struct TwoRanks : SpatialPartition {
  AxisPlace along(std::size_t axis) const noexcept override { return {0, axis == 0 ? 2 : 1}; }
  bool overlaps() const noexcept override { return false; }
  ImageCut meet(const ops::Extent3&) override { return {}; }
  at::Tensor exchange(const at::Tensor& slab, std::size_t, const AxisCut&,
                      const std::vector<CellRange>&) override {
    return slab;
  }
  std::unique_ptr<HaloInFlight> begin_exchange(const at::Tensor&, std::size_t, const AxisCut&,
                                               const std::vector<CellRange>&) override {
    return nullptr;
  }
  at::Tensor sum(const at::Tensor& values) override { return values; }
  std::shared_ptr<ops::StatisticsReducer> statistics() override { return nullptr; }
};

struct Network : torch::nn::Module {};

TEST(SpatialPartitionTest, RefusesLayersOfLibTorchThatNeedNeighboursByName) {
  const auto ranks = std::make_shared<TwoRanks>();
  Network network;
  network.register_module("slab", ToSlab(ToSlabOptions{.cells = {8, 1, 1}}));
  network.register_module("product", torch::nn::Linear(2, 2));
  set_partition(network, ranks);
  const auto part = network.register_module("part", std::make_shared<Network>());
  part->register_module("smooth", torch::nn::Conv3d(torch::nn::Conv3dOptions(1, 1, 3)));
  EXPECT_THAT(refusal([&] { set_partition(network, ranks); }),
              HasSubstr("layer 'part.smooth' is a torch::nn::Conv3d, which knows nothing of slabs"));
}

TEST(SpatialPartitionTest, RefusesNetworksThatCutNothingAndImagesOfAnotherSize) {
  const auto ranks = std::make_shared<TwoRanks>();
  Network network;
  EXPECT_THAT(refusal([&] { set_partition(network, ranks); }),
              HasSubstr("no layer of the network cuts images"));
  ToSlab slab(ToSlabOptions{.cells = {5, 2, 2}});
  slab->set_partition(ranks);
  EXPECT_EQ(slab->forward(torch::ones({1, 5, 2, 2})).size(1), 3);
  EXPECT_THAT(refusal([&] {
                slab->forward(torch::ones({1, 6, 2, 2}));
              }),
              HasSubstr("an image of 5 cells along x is cut into slabs; this one has 6"));
  slab->set_partition(nullptr);
  EXPECT_EQ(slab->forward(torch::ones({1, 6, 2, 2})).size(1), 6);
}

}  // namespace
}  // namespace bunchtrain::nn
