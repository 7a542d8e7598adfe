// SPDX-License-Identifier: Apache-2.0
// Neighbours of jet constituents on the CPU: ops::knn against what one writes with LibTorch.
//
//   knn_benchmark [threads] [repetitions]
//
// The contestants take turns inside one process, so that a busy machine slows all of them; the table shows
// medians and the ratio of medians.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/topk.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/ops/knn.hpp"

namespace {

namespace bt = bunchtrain;

constexpr std::int64_t kSets = 256, kPoints = 128, kNeighbours = 16;

at::Tensor by_bunchtrain(const at::Tensor& points) {
  return bt::ops::knn(points, std::nullopt, {.k = kNeighbours}).indices;
}

/// The k + 1 nearest by cdist, without the first, which is taken to be the point itself.
at::Tensor by_cdist(const at::Tensor& points) {
  const auto nearest =
      at::topk(at::cdist(points, points), kNeighbours + 1, -1, /*largest=*/false, /*sorted=*/true);
  return std::get<1>(nearest).slice(2, 1);
}

/// As weaver-core does: -|x|^2 + 2 x.y - |y|^2, then topk.
at::Tensor by_expansion(const at::Tensor& points) {
  const at::Tensor inner = at::bmm(points, points.transpose(1, 2)) * 2;
  const at::Tensor squares = points.square().sum(2, true);
  const auto nearest = at::topk(inner - squares - squares.transpose(1, 2), kNeighbours + 1, -1);
  return std::get<1>(nearest).slice(2, 1);
}

struct Contestant {
  const char* name;
  std::function<at::Tensor(const at::Tensor&)> run;
  std::vector<double> milliseconds;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

void measure(std::vector<Contestant>& contestants, const at::Tensor& points, int repetitions) {
  for (int repetition = -1; repetition < repetitions; ++repetition) {  // the first is to warm up
    for (Contestant& contestant : contestants) {
      const auto begin = std::chrono::steady_clock::now();
      const at::Tensor indices = contestant.run(points);
      const std::chrono::duration<double, std::milli> duration = std::chrono::steady_clock::now() - begin;
      if (repetition >= 0) contestant.milliseconds.push_back(duration.count());
    }
  }
}

void print_row(std::int64_t dims, int repetitions) {
  std::vector<Contestant> contestants{
      {"bunchtrain", by_bunchtrain, {}}, {"cdist", by_cdist, {}}, {"expansion", by_expansion, {}}};
  measure(contestants, at::randn({kSets, kPoints, dims}), repetitions);
  const double ours = median(contestants[0].milliseconds), cdist = median(contestants[1].milliseconds),
               expansion = median(contestants[2].milliseconds);
  fmt::print("| {} | {:.2f} | {:.0f} | {:.1f} | {:.1f} | {:.1f} | {:.1f} |\n", dims, ours,
             ours * 1e6 / (kSets * kPoints), cdist, cdist / ours, expansion, expansion / ours);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1, repetitions = argc > 2 ? std::atoi(argv[2]) : 15;
  if (threads < 1 || repetitions < 1) {
    fmt::print(stderr, "usage: knn_benchmark [threads] [repetitions], both at least 1\n");
    return 2;
  }
  at::set_num_threads(threads);
  fmt::print("kNN, {} sets of {} points, k = {}, float32, {} thread(s), medians of {} runs\n\n", kSets,
             kPoints, kNeighbours, threads, repetitions);
  fmt::print(
      "| D | bunchtrain ms | ns per point | cdist + topk ms | ratio | bmm expansion + topk ms | ratio |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- |\n");
  for (const std::int64_t dims : {2, 3, 16, 64, 128}) print_row(dims, repetitions);
  fmt::print("\nMachine: {}; {}, {}\n", bt::device::describe(c10::Device(c10::kCPU)),
             bt::build_info().compiler, bt::build_info().build_type);
}
