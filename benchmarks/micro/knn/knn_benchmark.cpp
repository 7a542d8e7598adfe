// SPDX-License-Identifier: Apache-2.0
// Neighbours on the CPU, against what one writes with LibTorch: of jet constituents (ops::knn), and of the hits of
// events (ops::ragged_knn).
//
//   knn_benchmark [threads] [repetitions]
//   knn_benchmark ragged [threads] [repetitions]
//
// The contestants take turns inside one process, so that a busy machine slows all of them; the table shows
// medians and the ratio of medians.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/topk.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/ops/knn.hpp"
#include "bunchtrain/ops/ragged_knn.hpp"

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

void print_sets(int threads, int repetitions) {
  fmt::print("kNN, {} sets of {} points, k = {}, float32, {} thread(s), medians of {} runs\n\n", kSets,
             kPoints, kNeighbours, threads, repetitions);
  fmt::print(
      "| D | bunchtrain ms | ns per point | cdist + topk ms | ratio | bmm expansion + topk ms | ratio |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- |\n");
  for (const std::int64_t dims : {2, 3, 16, 64, 128}) print_row(dims, repetitions);
}

struct Ragged {
  const char* what;
  std::int64_t sets, points, dims, k;  ///< points of each set
  bool clustered;
};

/// The k + 1 nearest by cdist in sets one after another, some queries at a time as memory allows. In large sets for
/// a part of the queries only.
struct ByCdist {
  static constexpr std::int64_t kMostQueries = 512, kMostAtOnce = 256;
  const Ragged& ragged;

  std::int64_t queries() const { return std::min(ragged.points, kMostQueries); }
  at::Tensor operator()(const at::Tensor& points) const {
    at::Tensor last;
    for (std::int64_t set = 0; set < ragged.sets; ++set) {
      const at::Tensor own = points.narrow(0, set * ragged.points, ragged.points);
      for (std::int64_t first = 0; first < queries(); first += kMostAtOnce) {
        const at::Tensor some = own.slice(0, first, std::min(queries(), first + kMostAtOnce));
        last =
            std::get<1>(at::topk(at::cdist(some, own), ragged.k + 1, -1, /*largest=*/false, /*sorted=*/true));
      }
    }
    return last;
  }
};

/// Uniform in a cube, or around 300 centres in it.
at::Tensor hits(const Ragged& ragged) {
  const std::int64_t size = ragged.sets * ragged.points;
  if (!ragged.clustered) return at::rand({size, ragged.dims});
  const at::Tensor centres = at::rand({300, ragged.dims});
  return centres.index_select(0, at::randint(300, {size}, at::kLong)) +
         at::randn({size, ragged.dims}) * 0.01F;
}

void print_row(const Ragged& ragged, int repetitions) {
  const at::Tensor splits = at::arange(ragged.sets + 1, at::kLong) * ragged.points;
  const ByCdist by_cdist_of_sets{ragged};
  const auto search = [&](const at::Tensor& points) {
    return bt::ops::ragged_knn(points, splits, {.k = ragged.k}).indices;
  };
  std::vector<Contestant> contestants{{"bunchtrain", search, {}}, {"cdist", by_cdist_of_sets, {}}};
  measure(contestants, hits(ragged), repetitions);
  const double ours = median(contestants[0].milliseconds);
  const double all = static_cast<double>(ragged.points) / static_cast<double>(by_cdist_of_sets.queries());
  const double cdist = median(contestants[1].milliseconds) * all;
  fmt::print("| {} x {} | {} | {} | {} | {:.1f} | {:.0f} | {:.0f} | {:.0f} |\n", ragged.sets, ragged.points,
             ragged.dims, ragged.k, ragged.what, ours,
             ours * 1e6 / static_cast<double>(ragged.sets * ragged.points), cdist, cdist / ours);
}

void print_ragged(int threads, int repetitions) {
  fmt::print(
      "Ragged kNN, float32, {} thread(s), medians of {} runs; cdist + topk for 512 queries of a large set, "
      "times the number of such parts\n\n",
      threads, repetitions);
  fmt::print("| sets x points | D | k | points | bunchtrain ms | ns per point | cdist + topk ms | ratio |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  const auto rows = {
      Ragged{"uniform", 1000, 100, 3, 16, false},   Ragged{"uniform", 10, 10'000, 3, 40, false},
      Ragged{"uniform", 1, 100'000, 3, 40, false},  Ragged{"clustered", 1, 100'000, 3, 40, true},
      Ragged{"uniform", 1, 100'000, 5, 40, false},  Ragged{"clustered", 1, 100'000, 5, 40, true},
      Ragged{"clustered", 1, 100'000, 8, 40, true}, Ragged{"uniform", 1, 1'000'000, 3, 40, false}};
  for (const Ragged& row : rows) print_row(row, repetitions);
}

}  // namespace

int main(int argc, char** argv) {
  const bool ragged = argc > 1 && std::string_view(argv[1]) == "ragged";
  const char* const* numbers = argv + (ragged ? 2 : 1);
  const int given = argc - (ragged ? 2 : 1);
  const int threads = given > 0 ? std::atoi(numbers[0]) : 1,
            repetitions = given > 1 ? std::atoi(numbers[1]) : 15;
  if (threads < 1 || repetitions < 1) {
    fmt::print(stderr, "usage: knn_benchmark [ragged] [threads] [repetitions], numbers at least 1\n");
    return 2;
  }
  at::set_num_threads(threads);
  ragged ? print_ragged(threads, repetitions) : print_sets(threads, repetitions);
  fmt::print("\nMachine: {}; {}, {}\n", bt::device::describe(c10::Device(c10::kCPU)),
             bt::build_info().compiler, bt::build_info().build_type);
}
