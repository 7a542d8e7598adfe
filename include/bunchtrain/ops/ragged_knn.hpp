// SPDX-License-Identifier: Apache-2.0
#pragma once
/// k nearest neighbours inside each set of a ragged batch: events of ten to some hundred thousand hits.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "bunchtrain/ops/knn.hpp"

namespace bunchtrain::ops {

inline constexpr std::int64_t kMaxRaggedNeighbours = 64;  ///< the largest k of `ragged_knn`
inline constexpr std::int64_t kMaxRaggedDims = 8;         ///< its largest D: in more, boxes leave nothing out

/// Neighbours of every point among the points of its own set, the sets lying one after another.
///
/// @param points [N, D] float32 (N points of all sets, D coordinates, 1 to 8). Made contiguous if it is not.
/// @param row_splits [S + 1] int64 or int32, ascending from 0 to N: set s has the points row_splits[s] to
///        row_splits[s + 1] - 1, as batches have them. On the device of `points`, or on the CPU. On a GPU
///        they are not read back: one out of order is taken as the nearest allowed.
/// @param options k is 1 to 64; a set may have fewer others.
/// @return indices [N, k] int32, rows of `points`, nearest first; where a set has no k others, -1 at the end of
///         the row. squared_distances [N, k] float32 if asked for, infinity beside -1.
///
/// The rules are those of `knn`: self is excluded by index, the order is (squared distance, index), neighbours
/// at a NaN distance come last, by index; the squared distance is the sum over ascending d of fused squares.
/// Exact, whatever the points are: the same indices on every processor, for any number of threads.
///
/// Points are sorted in space into blocks of few points with bounding boxes; blocks that cannot hold a nearer
/// point are left out. For sets of real hits or learned coordinates the time grows as N log N; uniform points in
/// 8 dimensions prune little. Scratch memory: about 5 D + 30 bytes per point.
///
/// Not differentiable: indices are constants. Thread-safe.
/// @throws ConfigError if k is not in [1, 64], D not in [1, 8], shapes, dtypes or devices do not fit, or, of
///         row_splits on the CPU, one is out of order; NotBuiltError for a tensor on a GPU in a build without
///         CUDA.
KnnResult ragged_knn(const at::Tensor& points, const at::Tensor& row_splits, const KnnOptions& options);

}  // namespace bunchtrain::ops
