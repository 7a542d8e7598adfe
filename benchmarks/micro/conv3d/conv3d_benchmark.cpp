// SPDX-License-Identifier: Apache-2.0
// The convolutions of both 3DGANs on the CPU: ops::conv3d and ops::upsampled_conv3d against PyTorch's way
// (channels first; nearest-neighbour upsampling and padding as tensors of their own).
//
//   conv3d_benchmark [threads] [repetitions] [float32 | bfloat16] [part of a layer's name]
//
// The contestants take turns inside one process, so that a busy machine slows both; the table shows medians
// and the ratio of medians.
#include <ATen/Parallel.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/upsample_nearest3d.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/ops/conv3d.hpp"

namespace {

namespace bt = bunchtrain;
using bt::ops::Extent3;
using bt::ops::Padding3;

struct Layer {
  const char* name;
  std::int64_t batch;
  Extent3 cells;
  std::int64_t in, out;
  Extent3 kernel;
  Padding3 padding = {};
  Extent3 factor = {1, 1, 1};

  bool upsamples() const { return factor != Extent3{1, 1, 1}; }
};

Padding3 around(Extent3 cells) { return Padding3::symmetric(cells); }

// Of three equal layers the first is enough.
const Layer kLayers[] = {
    {"generator 25, 1", 16, {7, 7, 8}, 8, 64, {6, 6, 8}, Padding3::same({6, 6, 8})},
    {"generator 25, 2", 16, {7, 7, 8}, 64, 6, {6, 5, 8}, around({2, 2, 0}), {2, 2, 2}},
    {"generator 25, 3", 16, {13, 14, 9}, 6, 6, {3, 3, 8}, around({1, 0, 3}), {2, 2, 3}},
    {"generator 25, 4", 16, {26, 26, 26}, 6, 1, {2, 2, 2}},
    {"discriminator 25, 1", 16, {25, 25, 25}, 1, 32, {5, 5, 5}, Padding3::same({5, 5, 5})},
    {"discriminator 25, 2", 16, {25, 25, 25}, 32, 8, {5, 5, 5}, around({2, 2, 2})},
    {"discriminator 25, 3", 16, {25, 25, 25}, 8, 8, {5, 5, 5}, around({2, 2, 2})},
    {"discriminator 25, 4", 16, {25, 25, 25}, 8, 8, {5, 5, 5}, around({1, 1, 1})},
    {"generator 51, 1", 8, {9, 9, 8}, 8, 8, {6, 6, 8}, {}, {6, 6, 6}},
    {"generator 51, 2", 8, {49, 49, 41}, 8, 6, {4, 4, 6}, around({2, 2, 1})},
    {"generator 51, 3", 8, {50, 50, 38}, 6, 6, {4, 4, 6}, around({2, 2, 1})},
    {"generator 51, 5", 8, {52, 52, 32}, 6, 6, {3, 3, 5}, around({1, 1, 0})},
    {"generator 51, 6", 8, {52, 52, 28}, 6, 6, {3, 3, 3}, around({1, 1, 0})},
    {"generator 51, 7", 8, {52, 52, 26}, 6, 1, {2, 2, 2}},
    {"discriminator 51, 1", 8, {51, 51, 25}, 1, 16, {5, 6, 6}, Padding3::same({5, 6, 6})},
    {"discriminator 51, 2", 8, {51, 51, 25}, 16, 8, {5, 6, 6}, around({0, 0, 1})},
    {"discriminator 51, 3", 8, {47, 46, 22}, 8, 8, {5, 6, 6}, around({0, 0, 1})},
    {"discriminator 51, 4", 8, {43, 41, 19}, 8, 8, {5, 6, 6}},
};

/// Input, weight and bias.
using Arguments = std::array<at::Tensor, 3>;

at::Tensor by_bunchtrain(const Layer& layer, const Arguments& in) {
  if (layer.upsamples()) return bt::ops::upsampled_conv3d(in[0], in[1], in[2], layer.factor, layer.padding);
  return bt::ops::conv3d(in[0], in[1], in[2], layer.padding);
}

/// On [B, C, X, Y, Z].
at::Tensor by_pytorch(const Layer& layer, const Arguments& in) {
  at::Tensor x = in[0];
  if (layer.upsamples()) {
    const auto f = layer.factor;
    x = at::upsample_nearest3d(x, {x.size(2) * f[0], x.size(3) * f[1], x.size(4) * f[2]});
  }
  const auto &before = layer.padding.before, &after = layer.padding.after;
  if (before == after) return at::conv3d(x, in[1], in[2], {1, 1, 1}, before);
  x = at::constant_pad_nd(x, {before[2], after[2], before[1], after[1], before[0], after[0]});
  return at::conv3d(x, in[1], in[2]);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// What one side does in a pass: forward, gradient of the input, gradients of the parameters.
struct Contestant {
  std::function<at::Tensor()> forward;
  Arguments arguments;
  at::Tensor output, upstream;
  std::array<std::vector<double>, 3> milliseconds;

  Contestant(std::function<at::Tensor()> run, Arguments all)
      : forward(std::move(run)), arguments(std::move(all)) {
    for (at::Tensor& argument : arguments) argument.requires_grad_(true);
    output = forward();
    upstream = at::randn(output.sizes(), output.options());
  }

  void run(std::size_t part) {
    if (part == 0) {
      const c10::NoGradGuard no_grad;
      forward();
    } else if (part == 1) {
      torch::autograd::grad({output}, {arguments[0]}, {upstream}, /*retain_graph=*/true);
    } else {
      torch::autograd::grad({output}, {arguments[1], arguments[2]}, {upstream}, /*retain_graph=*/true);
    }
  }
};

void print_row(const Layer& layer, at::ScalarType type, int repetitions) {
  const auto [kx, ky, kz] = layer.kernel;
  const Arguments ours = {
      at::randn({layer.batch, layer.cells[0], layer.cells[1], layer.cells[2], layer.in}).to(type),
      at::randn({layer.out, layer.in, kx, ky, kz}).to(type), at::randn({layer.out}).to(type)};
  Arguments theirs = ours;
  theirs[0] = ours[0].permute({0, 4, 1, 2, 3}).contiguous();
  for (at::Tensor& argument : theirs) argument = argument.clone();
  Contestant bunchtrain([&] { return by_bunchtrain(layer, ours); }, ours);
  Contestant pytorch([&] { return by_pytorch(layer, theirs); }, theirs);

  // The first repetition is to warm up. Who goes second finds the other's memory in the caches.
  std::array<Contestant*, 2> order = {&bunchtrain, &pytorch};
  for (int repetition = -1; repetition < repetitions; ++repetition, std::swap(order[0], order[1])) {
    for (std::size_t part = 0; part < 3; ++part) {
      for (Contestant* contestant : order) {
        const auto begin = std::chrono::steady_clock::now();
        contestant->run(part);
        const std::chrono::duration<double, std::milli> duration = std::chrono::steady_clock::now() - begin;
        if (repetition >= 0) contestant->milliseconds[part].push_back(duration.count());
      }
    }
  }
  fmt::print("| {} ", layer.name);
  for (std::size_t part = 0; part < 3; ++part) {
    const double a = median(bunchtrain.milliseconds[part]), b = median(pytorch.milliseconds[part]);
    fmt::print("| {:.1f} | {:.1f} | {:.2f} ", a, b, b / a);
  }
  fmt::print("|\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1, repetitions = argc > 2 ? std::atoi(argv[2]) : 5;
  const std::string_view type = argc > 3 ? argv[3] : "float32", part = argc > 4 ? argv[4] : "";
  if (threads < 1 || repetitions < 1 || (type != "float32" && type != "bfloat16")) {
    fmt::print(stderr, "usage: conv3d_benchmark [threads] [repetitions] [float32 | bfloat16] [layers]\n");
    return 2;
  }
  at::set_num_threads(threads);
  bt::device::keep_freed_memory();  // as in training
  fmt::print("Convolutions of 3DGAN, batch 16 (25) and 8 (51), {}, {} thread(s), medians of {} runs, ms\n\n",
             type, threads, repetitions);
  fmt::print(
      "| layer | forward | PyTorch | ratio | input gradient | PyTorch | ratio | weight gradient | PyTorch | "
      "ratio |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const Layer& layer : kLayers) {
    if (std::string_view(layer.name).find(part) != std::string_view::npos)
      print_row(layer, type == "float32" ? at::kFloat : at::kBFloat16, repetitions);
  }
  fmt::print("\nMachine: {}; {}, {}\n", bt::device::describe(c10::Device(c10::kCPU)),
             bt::build_info().compiler, bt::build_info().build_type);
}
