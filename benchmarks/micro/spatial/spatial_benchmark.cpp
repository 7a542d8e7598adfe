// SPDX-License-Identifier: Apache-2.0
// Convolutions on slabs, forward and backward, against gathering the image, convolving all of it, and keeping a slab.
//
//   mpirun -n 2 build/release/benchmarks/micro/spatial/spatial_benchmark [SHOWERS [SLABS [LAYER]]]
//
// SLABS as --mesh spatial= has them: 2, 4, 2x2, 1x2; not given, all ranks lie along x.
//
// "compute" is the slab's convolution with the halo at hand, "halo" its exchange alone, "in turn" one convolution behind it,
// "overlapped" the interior beside it and its rims behind. Which of both nn::Conv3d takes the partition says
// (`SpatialPartition::overlaps`). Exposed is the share of the halo's time that a step is longer than its computation.
// Medians of nine steps; a step is over when the last rank is. "Held" is what forward leaves for backward, output and input
// included, in MB of rank 0: of its slab, and of the whole image.

#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/comm/mesh_shape.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "bunchtrain/nn/slab_layers.hpp"
#include "bunchtrain/parallel/spatial_partition.hpp"
#include "parallel/pipeline/held_bytes.hpp"

namespace bt = bunchtrain;

namespace {

constexpr int kSteps = 9;

struct Layer {
  std::string name;
  bt::ops::Extent3 cells;
  bt::nn::Conv3dOptions options;
};

std::vector<Layer> layers() {
  using bt::ops::Padding3;
  const auto same = [](std::int64_t in, std::int64_t out) {
    return bt::nn::Conv3dOptions{
        .in_channels = in, .out_channels = out, .kernel = {3, 3, 3}, .padding = Padding3::same({3, 3, 3})};
  };
  return {
      {"3DGAN discriminator 2 (angle)",
       {51, 51, 25},
       {.in_channels = 16,
        .out_channels = 8,
        .kernel = {5, 6, 6},
        .padding = Padding3::symmetric({0, 0, 1})}},
      {"3DGAN generator 2 (angle)",
       {49, 49, 43},
       {.in_channels = 8, .out_channels = 6, .kernel = {4, 4, 6}, .padding = Padding3::symmetric({2, 2, 1})}},
      {"3DGAN generator 2 (fixed, upsampling)",
       {7, 7, 8},
       {.in_channels = 64,
        .out_channels = 6,
        .kernel = {6, 5, 8},
        .padding = Padding3::symmetric({2, 2, 0}),
        .upsampling = {2, 2, 2}}},
      {"U-Net base, finest", {52, 52, 28}, same(32, 32)},
      {"U-Net base, middle", {26, 26, 14}, same(96, 96)}};
}

/// Milliseconds of each step of the slowest rank; one after the other in each round, so that all meet the same machine.
std::vector<double> median_ms(bt::comm::Communicator& ranks,
                              const std::vector<std::function<void()>>& steps) {
  std::vector<std::vector<double>> times(steps.size());
  for (int round = 0; round <= kSteps; ++round)
    for (std::size_t i = 0; i < steps.size(); ++i) {
      ranks.barrier();
      const auto start = std::chrono::steady_clock::now();
      steps[i]();
      ranks.barrier();
      const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
      if (round > 0) times[i].push_back(passed.count());
    }
  std::vector<double> medians;
  for (auto& of_step : times) {
    std::ranges::nth_element(of_step, of_step.begin() + kSteps / 2);
    medians.push_back(of_step[kSteps / 2]);
  }
  return medians;
}

/// Megabytes that are held between forward and backward.
double held_mb(const at::Tensor& input, const std::function<at::Tensor()>& forward) {
  const bt::parallel::HeldBytes held;
  const at::Tensor output = forward();
  return 1e-6 * static_cast<double>(held.now() + static_cast<std::int64_t>(input.nbytes()));
}

void differentiate(const at::Tensor& output) { output.sum().backward(); }

bt::nn::Conv3d make_convolution(const bt::nn::Conv3dOptions& options,
                                std::shared_ptr<bt::nn::SpatialPartition> partition) {
  bt::nn::Conv3d convolution(options);
  bt::nn::fill_default_weights(*convolution, 1);
  convolution->set_partition(std::move(partition));
  return convolution;
}

/// What a layer of slabs is to this rank.
struct Share {
  bt::nn::ImageCut cut;
  bt::nn::WantedCells wanted;
  bt::nn::CellBox outputs;
  bt::ops::Extent3 slab, with_halo, skipped;
  bt::nn::Conv3dOptions alone;  ///< the layer as one rank computes its outputs from slab and halo
};

Share share_of(const Layer& layer, const bt::nn::SpatialPartition& ranks) {
  Share share;
  share.alone = layer.options;
  std::array<bt::nn::AxisWindow, 3> windows;
  std::array<int, 3> grid{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    windows[axis] = {.kernel = layer.options.kernel[axis],
                     .before = layer.options.padding.before[axis],
                     .after = layer.options.padding.after[axis],
                     .upsampling = layer.options.upsampling[axis]};
    grid[axis] = ranks.along(axis).ranks;
  }
  share.cut = bt::nn::balanced_cut(layer.cells, grid);
  const auto outputs = bt::nn::output_cut(share.cut, windows);
  share.wanted = bt::nn::inputs_of(outputs, windows, share.cut);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const int place = ranks.along(axis).rank;
    share.outputs[axis] = outputs[axis].of(place);
    const auto part = windows[axis].part_of(share.outputs[axis], layer.cells[axis]);
    share.slab[axis] = share.cut[axis].of(place).size();
    share.with_halo[axis] = part.inputs.size();
    share.skipped[axis] = part.skipped;
    share.alone.padding.before[axis] = part.before;
    share.alone.padding.after[axis] = part.after;
  }
  return share;
}

at::Tensor narrowed(at::Tensor image, const bt::ops::Extent3& begin, const bt::nn::CellBox& cells) {
  for (std::size_t axis = 0; axis < 3; ++axis)
    image = image.narrow(1 + static_cast<std::int64_t>(axis), begin[axis], cells[axis].size());
  return image;
}

at::Tensor exchanged(bt::nn::SpatialPartition& ranks, at::Tensor slab, const Share& share) {
  for (std::size_t axis = 3; axis-- > 0;)
    if (share.cut[axis].ranks() > 1) slab = ranks.exchange(slab, axis, share.cut[axis], share.wanted[axis]);
  return slab;
}

void measure(bt::comm::Communicator& world, const Layer& layer, std::int64_t showers,
             const std::array<int, 3>& grid) {
  using bt::parallel::create_spatial_partition;
  const auto ranks = create_spatial_partition(world, {.grid = grid});
  const Share share = share_of(layer, *ranks);
  bt::nn::Conv3d alone = make_convolution(share.alone, nullptr),
                 of_whole = make_convolution(layer.options, nullptr),
                 as_it_is = make_convolution(layer.options, ranks);
  bt::nn::Conv3d behind = make_convolution(
                     layer.options, create_spatial_partition(world, {.grid = grid, .overlaps = false})),
                 beside = make_convolution(layer.options,
                                           create_spatial_partition(world, {.grid = grid, .overlaps = true}));
  bt::nn::ToWhole whole;
  whole->set_partition(ranks);
  const auto cells_of = [&](const bt::ops::Extent3& cells) {
    return at::randn({showers, cells[0], cells[1], cells[2], layer.options.in_channels}).requires_grad_();
  };
  const at::Tensor slab = cells_of(share.slab), image = cells_of(layer.cells),
                   with_halo = cells_of(share.with_halo);
  const bt::ops::Extent3 mine = {share.outputs[0].begin, share.outputs[1].begin, share.outputs[2].begin};

  const std::vector<double> times = median_ms(
      world,
      {[&] { differentiate(narrowed(alone->forward(with_halo), share.skipped, share.outputs)); },
       [&] { differentiate(exchanged(*ranks, slab, share)); }, [&] { differentiate(behind->forward(slab)); },
       [&] { differentiate(beside->forward(slab)); },
       [&] { differentiate(narrowed(of_whole->forward(whole->forward(slab)), mine, share.outputs)); }});
  const double compute = times[0], halo = times[1], in_turn = times[2], overlapped = times[3],
               gathered = times[4];
  (void)as_it_is->forward(slab);  // the ranks meet
  const double held = held_mb(slab, [&] { return as_it_is->forward(slab); });
  const double held_whole = held_mb(image, [&] { return of_whole->forward(image); });
  if (world.rank() > 0) return;
  const auto exposed = [&](double time) {
    return 100 * std::clamp((time - compute) / std::max(halo, 1e-6), 0.0, 1.0);
  };
  fmt::print(
      "| {} | {:.1f} | {:.1f} | {:.1f} ({:.0f} %) | {:.1f} ({:.0f} %) | {:.1f} | {:.2f} | {:.1f} / {:.1f} |\n",
      layer.name, compute, halo, in_turn, exposed(in_turn), overlapped, exposed(overlapped), gathered,
      gathered / (ranks->overlaps() ? overlapped : in_turn), held, held_whole);
}

}  // namespace

int main(int argc, char** argv) {
  const bt::mpi::Environment environment;
  const std::int64_t showers = argc > 1 ? std::atoll(argv[1]) : 4;
  auto world = bt::comm::Communicator::create(environment.world(), c10::kCPU);
  const auto mesh = bt::comm::MeshShape::parse(
      fmt::format("spatial={}", argc > 2 ? std::string(argv[2]) : std::to_string(world.size())),
      world.size());
  if (world.rank() == 0)
    fmt::print(
        "{} showers, {} ranks, {}, ms per step\n\n| layer | compute | halo | in turn (exposed) | overlapped (exposed) | "
        "gathered | gathered / as nn::Conv3d does | held, slab / whole |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
        showers, world.size(), mesh.to_string());
  const std::vector<Layer> all = layers();
  const std::size_t only = argc > 3 ? static_cast<std::size_t>(std::atoll(argv[3])) : 0;  // counted from 1
  for (std::size_t i = 0; i < all.size(); ++i)
    if (only == 0 || only == i + 1) measure(world, all[i], showers, mesh.slabs());
  world.close();
  return 0;
}
