// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kNN kernels behind raw pointers: usable without LibTorch, compiled for the host by the tests.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace bunchtrain::ops::detail {

/// Device pointers and sizes. `mask` and `counts` may both be nullptr (all points are
/// real), never both be set.
template <class Real>
struct KnnArguments {
  const Real* points;          ///< [sets, num_points, dims]
  const bool* mask;            ///< [sets, num_points], true = real
  const std::int32_t* counts;  ///< [sets], leading points that are real; taken to be within 0 and num_points
  std::int32_t* indices;       ///< [sets, num_points, k]
  Real* squared_distances;     ///< [sets, num_points, k] or nullptr
  int sets;
  int num_points;
  int dims;
  int k;  ///< 1 to num_points - 1
};

/// Finds neighbours as `ops::knn` promises. Asynchronous on `stream`.
void launch_knn(const KnnArguments<float>& arguments, cudaStream_t stream);
void launch_knn(const KnnArguments<double>& arguments, cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
