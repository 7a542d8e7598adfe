// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Brute-force neighbours, written for clearness: what every implementation of `ops::knn` is compared with.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace bunchtrain::test {

/// One set of points and its neighbours, all in one precision.
template <class Real>
struct ReferenceSet {
  std::vector<std::vector<Real>> points;  ///< [P][D]
  std::vector<bool> real;                 ///< [P]

  /// Sum of fused squares in ascending order of the coordinates: the documented float32
  /// evaluation if Real is float.
  Real squared_distance(std::size_t a, std::size_t b) const {
    Real sum = 0;
    for (std::size_t d = 0; d < points[a].size(); ++d) {
      const Real difference = points[a][d] - points[b][d];
      sum = std::fma(difference, difference, sum);
    }
    return sum;
  }

  /// The k first others by (class, distance, index); the classes are numbers, NaN, padding.
  std::vector<std::int32_t> neighbours(std::size_t point, std::size_t k) const {
    struct Candidate {
      int rank;
      Real distance;
      std::int32_t index;
    };
    std::vector<Candidate> candidates;
    for (std::size_t j = 0; j < points.size(); ++j) {
      if (j == point) continue;
      const bool both_real = real[point] && real[j];
      const Real distance = both_real ? squared_distance(point, j) : Real{0};
      const int rank = !both_real ? 2 : std::isnan(distance) ? 1 : 0;
      candidates.push_back({rank, rank == 0 ? distance : Real{0}, static_cast<std::int32_t>(j)});
    }
    std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      return a.rank != b.rank ? a.rank < b.rank : a.distance < b.distance;
    });
    std::vector<std::int32_t> indices;
    for (std::size_t n = 0; n < k; ++n) indices.push_back(candidates[n].index);
    return indices;
  }
};

/// Set `b` of [B, P, D] `points`; [B, P] bool `mask` may be undefined.
template <class Real, class Stored>
ReferenceSet<Real> reference_set(const at::Tensor& points, const at::Tensor& mask, std::int64_t b) {
  const auto num_points = points.size(1), dims = points.size(2);
  const Stored* data = points.const_data_ptr<Stored>() + b * num_points * dims;
  ReferenceSet<Real> set;
  for (std::int64_t i = 0; i < num_points; ++i) {
    set.points.emplace_back(data + i * dims, data + (i + 1) * dims);
    set.real.push_back(!mask.defined() || mask.const_data_ptr<bool>()[b * num_points + i]);
  }
  return set;
}

/// [B, P, k] flattened.
template <class Real>
std::vector<std::int32_t> reference_knn(const at::Tensor& points, const at::Tensor& mask, std::int64_t k) {
  std::vector<std::int32_t> all;
  for (std::int64_t b = 0; b < points.size(0); ++b) {
    const auto set = reference_set<Real, Real>(points, mask, b);
    for (std::size_t i = 0; i < set.points.size(); ++i) {
      const auto row = set.neighbours(i, static_cast<std::size_t>(k));
      all.insert(all.end(), row.begin(), row.end());
    }
  }
  return all;
}

}  // namespace bunchtrain::test
