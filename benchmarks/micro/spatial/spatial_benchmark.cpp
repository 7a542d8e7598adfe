// SPDX-License-Identifier: Apache-2.0
// Convolutions on slabs, forward and backward, against gathering the image, convolving all of it, and keeping a slab.
//
//   mpirun -n 2 build/release/benchmarks/micro/spatial/spatial_benchmark [SHOWERS [LAYER]]
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
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

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

bt::nn::Conv3d make_convolution(const Layer& layer, std::shared_ptr<bt::nn::SpatialPartition> partition) {
  bt::nn::Conv3d convolution(layer.options);
  bt::nn::fill_default_weights(*convolution, 1);
  convolution->set_partition(std::move(partition));
  return convolution;
}

void measure(bt::comm::Communicator& world, const Layer& layer, std::int64_t showers) {
  using bt::parallel::create_spatial_partition;
  const auto ranks = create_spatial_partition(world);
  bt::nn::Conv3d alone = make_convolution(layer, nullptr), as_it_is = make_convolution(layer, ranks);
  bt::nn::Conv3d behind = make_convolution(layer, create_spatial_partition(world, {.overlaps = false})),
                 beside = make_convolution(layer, create_spatial_partition(world, {.overlaps = true}));
  bt::nn::ToWhole whole;
  whole->set_partition(ranks);
  const auto cut = bt::nn::AxisCut::balanced(layer.cells[0], world.size());
  const bt::nn::AxisWindow window{.kernel = layer.options.kernel[0],
                                  .before = layer.options.padding.before[0],
                                  .after = layer.options.padding.after[0],
                                  .upsampling = layer.options.upsampling[0]};
  const auto outputs = bt::nn::output_cut(cut, window);
  const auto wanted = bt::nn::inputs_of(outputs, window, layer.cells[0]);
  const auto mine = outputs.of(world.rank());
  const auto cells_of = [&](std::int64_t x) {
    return at::randn({showers, x, layer.cells[1], layer.cells[2], layer.options.in_channels})
        .requires_grad_();
  };
  const at::Tensor slab = cells_of(cut.of(world.rank()).size()), image = cells_of(layer.cells[0]);
  const at::Tensor with_halo = cells_of(wanted[static_cast<std::size_t>(world.rank())].size());

  const std::vector<double> times = median_ms(
      world,
      {[&] { differentiate(alone->forward(with_halo)); },
       [&] { differentiate(ranks->exchange(slab, 0, cut, wanted)); },
       [&] { differentiate(behind->forward(slab)); }, [&] { differentiate(beside->forward(slab)); },
       [&] { differentiate(alone->forward(whole->forward(slab)).narrow(1, mine.begin, mine.size())); }});
  const double compute = times[0], halo = times[1], in_turn = times[2], overlapped = times[3],
               gathered = times[4];
  (void)as_it_is->forward(slab);  // the ranks meet
  const double held = held_mb(slab, [&] { return as_it_is->forward(slab); });
  const double held_whole = held_mb(image, [&] { return alone->forward(image); });
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
  if (world.rank() == 0)
    fmt::print(
        "{} showers, {} ranks, ms per step\n\n| layer | compute | halo | in turn (exposed) | overlapped (exposed) | "
        "gathered | gathered / as nn::Conv3d does | held, slab / whole |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
        showers, world.size());
  const std::vector<Layer> all = layers();
  const std::size_t only = argc > 2 ? static_cast<std::size_t>(std::atoll(argv[2])) : 0;  // counted from 1
  for (std::size_t i = 0; i < all.size(); ++i)
    if (only == 0 || only == i + 1) measure(world, all[i], showers);
  world.close();
  return 0;
}
