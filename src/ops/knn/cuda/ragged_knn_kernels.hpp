// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernels of ragged kNN behind raw pointers: usable without LibTorch, compiled for the host by the tests.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace bunchtrain::ops::detail {

inline constexpr int kLargestRaggedK = 64;

/// Device pointers and sizes.
struct RaggedKnnArguments {
  const float* points;             ///< [num_points, dims]
  const std::int64_t* row_splits;  ///< [sets + 1]; one out of order is taken as the nearest allowed
  std::int32_t* indices;           ///< [num_points, k], -1 where a set has too few
  float* squared_distances;        ///< [num_points, k] or nullptr
  std::int64_t num_points;         ///< 1 to 2^31 - 1
  std::int64_t sets;               ///< 1 to 2^31 - 1
  int dims;                        ///< 1 to 8
  int k;                           ///< 1 to kLargestRaggedK
};

/// Bytes of scratch memory that the search needs.
std::int64_t ragged_knn_scratch_bytes(const RaggedKnnArguments& arguments);

/// Finds neighbours as `ops::ragged_knn` promises. Asynchronous on `stream`.
/// @param scratch `ragged_knn_scratch_bytes`, 16-byte aligned
void launch_ragged_knn(const RaggedKnnArguments& arguments, void* scratch, cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
