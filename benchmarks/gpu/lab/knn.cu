// SPDX-License-Identifier: Apache-2.0
// kNN of the points of jets, and of one large set.
// sources: src/ops/knn/cuda/knn.cu
#include "benchmarks/gpu/lab/lab.cuh"
#include "src/ops/knn/cuda/knn_kernels.hpp"

namespace {

void time_knn(int sets, int points, int dims) {
  constexpr int kNeighbours = 16;
  const std::size_t all = static_cast<std::size_t>(sets) * points;
  const bunchtrain::ops::detail::KnnArguments<float> arguments{
      .points = lab::upload(lab::numbers(all * dims)),
      .mask = nullptr,
      .counts = nullptr,
      .indices = lab::allocate<std::int32_t>(all * kNeighbours),
      .squared_distances = nullptr,
      .sets = sets,
      .num_points = points,
      .dims = dims,
      .k = kNeighbours};
  const double bytes = 4.0 * static_cast<double>(all) * (dims + kNeighbours);
  const double flops = 3.0 * static_cast<double>(all) * points * dims;
  char what[80];
  std::snprintf(what, sizeof what, "kNN, %d x %d points, D %d, k %d", sets, points, dims, kNeighbours);
  lab::time(what, bytes, flops,
            [&](cudaStream_t stream) { bunchtrain::ops::detail::launch_knn(arguments, stream); });
}

}  // namespace

int main() {
  for (const int dims : {2, 64, 128}) time_knn(1024, 128, dims);
  time_knn(1, 10'000, 4);
}
