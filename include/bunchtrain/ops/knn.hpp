// SPDX-License-Identifier: Apache-2.0
#pragma once
/// k nearest neighbours inside each set of a batch of small point sets.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace bunchtrain::ops {

struct KnnOptions {
  std::int64_t k = 16;
  bool squared_distances = false;  ///< also return them
};

struct KnnResult {
  at::Tensor indices;            ///< [B, P, k] int32 (int64 on request is a cast away): positions within the set, nearest first
  at::Tensor squared_distances;  ///< [B, P, k] as `points`, undefined unless asked for
};

/// Neighbours of every point among the points of its own set.
///
/// @param points [B, P, D] float32 or float64, contiguous; bfloat16 is refused (convert: kNN stays float32).
/// @param counts [B] int32 or int64: the first `counts[b]` points of set b are real (padded ones follow), or
///        a [B, P] bool mask (true = real; real points need not be leading), or nothing: all real.
/// Self is excluded by index, never "the first dropped". Ties go to the lowest index. With fewer than k+1 real particles the
/// padded ones follow, lowest index first (never the point itself). Rows of padded points are filled likewise: the real ones by distance are
/// not computed for them, they get the lowest indices other than themselves. NaN distances rank after all numbers and before padding.
/// Exact in the difference form for every D; the same indices on CPU and GPU. Not differentiable: indices are constants.
/// @throws ConfigError if k >= P, or shapes do not fit.
KnnResult knn(const at::Tensor& points, const std::optional<at::Tensor>& mask_or_counts, const KnnOptions& options);

}  // namespace bunchtrain::ops
