// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <optional>

#include "bunchtrain/ops/knn.hpp"
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
  for (const std::int64_t points :
       bench.small ? std::vector<std::int64_t>{500, 1000} : std::vector<std::int64_t>{10'000, 100'000})
    cases.push_back(knn_case("P3", bench.device, 1, points, 4));
  return cases;
}

}  // namespace gpu_bench
