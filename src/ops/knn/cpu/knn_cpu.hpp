// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Neighbours inside one set, on the CPU. No ATen: the loop over sets and the tensors are in knn.cpp.

#include <cstdint>
#include <vector>

namespace bunchtrain::ops::detail {

/// One set of points.
template <class Real>
struct PointSet {
  const Real* points;              ///< [P, D], contiguous
  std::int64_t size;               ///< P
  std::int64_t dims;               ///< D
  std::vector<std::int32_t> real;  ///< positions of the real points, ascending
};

/// Where a set's neighbours go.
template <class Real>
struct NeighbourRows {
  std::int64_t k;
  std::int32_t* indices;    ///< [P, k]
  Real* squared_distances;  ///< [P, k], or nullptr if not wanted
};

/// Fills the rows of all points of a set as `ops::knn` promises. Thread-safe.
void find_neighbours(const PointSet<float>& set, const NeighbourRows<float>& rows);
void find_neighbours(const PointSet<double>& set, const NeighbourRows<double>& rows);

/// The vectorised part: keys (knn_key.hpp, index = position in `set.real`) of the `count` nearest real
/// neighbours of each real point, ascending, [n, count]. @pre 1 <= count < n, n = set.real.size()
void select_nearest_keys(const PointSet<float>& set, std::int64_t count, std::vector<std::uint64_t>& keys);

/// The same by a plain loop: for processors without the vector instructions, and the tests.
void select_nearest_keys_plain(const PointSet<float>& set, std::int64_t count,
                               std::vector<std::uint64_t>& keys);

}  // namespace bunchtrain::ops::detail
