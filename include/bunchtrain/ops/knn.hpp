// SPDX-License-Identifier: Apache-2.0
#pragma once
/// k nearest neighbours inside each set of a batch of small point sets.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace bunchtrain::ops {

struct KnnOptions {
  std::int64_t k = 16;             ///< 1 to P - 1; up to 32 in one pass, more in several
  bool squared_distances = false;  ///< also return them
};

struct KnnResult {
  at::Tensor indices;            ///< [B, P, k] int32: positions within the set, nearest first
  at::Tensor squared_distances;  ///< [B, P, k] as `points`, infinity for padding; undefined unless asked for
};

/// Neighbours of every point among the points of its own set.
///
/// @param points [B, P, D] float32 or float64 (B sets, P points, D coordinates); bfloat16 is refused
/// (convert: kNN stays
///        float32). Made contiguous if it is not.
/// @param mask_or_counts [B] int32 or int64: the first `counts[b]` points of set b are real (padded ones
/// follow); or a
///        [B, P] bool mask (true = real; real points need not be leading); or nothing: all real. On a GPU
///        counts are not read back: those out of range are taken as 0 or P.
///
/// Self is excluded by index, never "the first dropped": duplicates are neighbours. Order: real
/// neighbours by (squared distance, index), those at a NaN distance next, by index, then the padded
/// points, by index. A padded point's own row holds the lowest indices other than its own. Coordinates of
/// padded points are never used.
///
/// The squared distance is the sum over ascending d of (x_i[d] - x_j[d])^2, one fused
/// multiply-add each, for every D: the same indices on every processor and GPU. Not
/// differentiable: indices are constants. Thread-safe.
/// @throws ConfigError if k is not in [1, P - 1], or shapes, dtypes or devices do not fit; NotBuiltError for
/// a tensor on a GPU
///         in a build without CUDA.
KnnResult knn(const at::Tensor& points, const std::optional<at::Tensor>& mask_or_counts,
              const KnnOptions& options);

}  // namespace bunchtrain::ops
