// SPDX-License-Identifier: Apache-2.0
#include "knn_cpu.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../knn_key.hpp"
#include "squared_distance.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// A neighbour in double precision, which does not fit a 64-bit key.
struct Neighbour {
  double squared_distance;
  std::int32_t index;

  bool operator<(const Neighbour& other) const {
    const bool nan = std::isnan(squared_distance), other_nan = std::isnan(other.squared_distance);
    if (nan != other_nan) return other_nan;
    if (!nan && squared_distance != other.squared_distance) return squared_distance < other.squared_distance;
    return index < other.index;
  }
};

template <class Real>
class RowWriter {
 public:
  RowWriter(const NeighbourRows<Real>& rows, std::int64_t point)
      : index_(rows.indices + point * rows.k),
        distance_(rows.squared_distances ? rows.squared_distances + point * rows.k : nullptr) {}

  void add(std::int32_t index, Real squared_distance) {
    *index_++ = index;
    if (distance_) *distance_++ = squared_distance;
  }

 private:
  std::int32_t* index_;
  Real* distance_;
};

std::vector<std::int32_t> padded_points(std::int64_t size, const std::vector<std::int32_t>& real) {
  std::vector<std::int32_t> padded;
  padded.reserve(static_cast<std::size_t>(size) - real.size());
  auto next_real = real.begin();
  for (std::int32_t i = 0; i < size; ++i) {
    if (next_real != real.end() && *next_real == i) {
      ++next_real;
    } else {
      padded.push_back(i);
    }
  }
  return padded;
}

template <class Real>
constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

/// What does not depend on distances: rows of padded points, and the tail of real points' rows
/// past the real neighbours.
template <class Real>
void fill_padding(const PointSet<Real>& set, const NeighbourRows<Real>& rows) {
  const auto num_real = static_cast<std::int64_t>(set.real.size());
  if (num_real == set.size) return;
  const auto padded = padded_points(set.size, set.real);
  for (const std::int32_t point : padded) {
    RowWriter<Real> row(rows, point);
    for (std::int32_t n = 0; n < rows.k; ++n) row.add(n < point ? n : n + 1, kInfinity<Real>);
  }
  const std::int64_t found = std::max<std::int64_t>(0, std::min(rows.k, num_real - 1));
  for (const std::int32_t point : set.real) {
    for (std::int64_t n = found; n < rows.k; ++n) {
      rows.indices[point * rows.k + n] = padded[static_cast<std::size_t>(n - found)];
      if (rows.squared_distances) rows.squared_distances[point * rows.k + n] = kInfinity<Real>;
    }
  }
}

}  // namespace

void find_neighbours(const PointSet<float>& set, const NeighbourRows<float>& rows) {
  fill_padding(set, rows);
  const auto num_real = static_cast<std::int64_t>(set.real.size());
  const std::int64_t count = std::min(rows.k, num_real - 1);
  if (count < 1) return;
  thread_local std::vector<std::uint64_t> keys;
  select_nearest_keys(set, count, keys);
  const std::uint64_t* key = keys.data();
  for (const std::int32_t point : set.real) {
    RowWriter<float> row(rows, point);
    for (std::int64_t n = 0; n < count; ++n, ++key)
      row.add(set.real[static_cast<std::uint32_t>(*key)],
              squared_distance_of(static_cast<std::uint32_t>(*key >> 32)));
  }
}

void find_neighbours(const PointSet<double>& set, const NeighbourRows<double>& rows) {
  fill_padding(set, rows);
  const auto num_real = static_cast<std::int64_t>(set.real.size());
  const std::int64_t count = std::min(rows.k, num_real - 1);
  if (count < 1) return;
  std::vector<Neighbour> neighbours;
  for (const std::int32_t point : set.real) {
    neighbours.clear();
    for (const std::int32_t other : set.real) {
      if (other == point) continue;
      neighbours.push_back(
          {squared_distance(set.points + point * set.dims, set.points + other * set.dims, set.dims), other});
    }
    std::partial_sort(neighbours.begin(), neighbours.begin() + count, neighbours.end());
    RowWriter<double> row(rows, point);
    for (std::int64_t n = 0; n < count; ++n)
      row.add(neighbours[static_cast<std::size_t>(n)].index,
              neighbours[static_cast<std::size_t>(n)].squared_distance);
  }
}

void select_nearest_keys_plain(const PointSet<float>& set, std::int64_t count,
                               std::vector<std::uint64_t>& keys) {
  const auto size = static_cast<std::int64_t>(set.real.size());
  std::vector<std::uint64_t> row(static_cast<std::size_t>(size));
  keys.clear();
  for (std::int64_t i = 0; i < size; ++i) {
    const float* point = set.points + set.real[static_cast<std::size_t>(i)] * set.dims;
    for (std::int64_t j = 0; j < size; ++j) {
      const float* other = set.points + set.real[static_cast<std::size_t>(j)] * set.dims;
      const std::uint32_t rank = i == j ? kExcludedRank : rank_of(squared_distance(point, other, set.dims));
      row[static_cast<std::size_t>(j)] = std::uint64_t{rank} << 32 | static_cast<std::uint64_t>(j);
    }
    std::partial_sort(row.begin(), row.begin() + count, row.end());
    keys.insert(keys.end(), row.begin(), row.begin() + count);
  }
}

}  // namespace bunchtrain::ops::detail
