// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "bunchtrain/ops/knn.hpp"
#include "bunchtrain/ops/ragged_knn.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace {

constexpr std::int64_t kNeighbours = 16;

Case knn_case(const char* row, c10::Device device, std::int64_t sets, std::int64_t points,
              std::int64_t dims) {
  return {.row = row,
          .what = fmt::format("kNN, {} x {} points, D {}, k {}", sets, points, dims, kNeighbours),
          .samples = static_cast<double>(sets * points),
          .unit = "points",
          .prepare = [=] {
            const at::Tensor coordinates = normal({sets, points, dims}, 0, device);
            return Work{[=] { bunchtrain::ops::knn(coordinates, std::nullopt, {.k = kNeighbours}); }};
          }};
}

Case ragged_case(c10::Device device, std::int64_t points, std::int64_t dims) {
  constexpr std::int64_t kLargeNeighbours = 40;
  return {
      .row = "P3",
      .what = fmt::format("kNN, 1 x {} points, D {}, k {}", points, dims, kLargeNeighbours),
      .samples = static_cast<double>(points),
      .unit = "points",
      .prepare = [=] {
        const at::Tensor coordinates = normal({points, dims}, 0, device);
        const at::Tensor row_splits = at::tensor({std::int64_t{0}, points}, at::kLong).to(device);
        return Work{[=] { bunchtrain::ops::ragged_knn(coordinates, row_splits, {.k = kLargeNeighbours}); }};
      }};
}

}  // namespace

std::vector<Case> set_knn_cases(const Bench& bench) {
  std::vector<Case> cases;
  for (const std::int64_t dims : {2, 64, 128})
    cases.push_back(bench.small ? knn_case("P2", bench.device, 16, 32, dims)
                                : knn_case("P2", bench.device, 1024, 128, dims));
  return cases;
}

std::vector<Case> large_knn_cases(const Bench& bench) {
  std::vector<Case> cases;
  for (const auto& [points, dims] : {std::pair{100'000, 3}, std::pair{100'000, 5}, std::pair{1'000'000, 3}})
    cases.push_back(ragged_case(bench.device, bench.small ? points / 100 : points, dims));
  return cases;
}

}  // namespace gpu_bench
