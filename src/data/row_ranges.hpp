// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows of several files: cutting them into ranges that are read together, and choosing among them.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

namespace bunchtrain::data {

/// Rows of one file that are read together.
struct RowRange {
  std::size_t file;
  std::size_t first;  ///< within the file
  std::size_t count;
  std::size_t first_row;  ///< over all files
};

/// Whether a row (over all files) belongs to a part. Pure.
using RowRule = std::function<bool(std::size_t row)>;

/// @param files have rows() and rows_per_range()
template <class File>
std::vector<RowRange> cut_rows(const std::vector<File>& files) {
  std::vector<RowRange> ranges;
  std::size_t rows = 0;
  for (std::size_t file = 0; file < files.size(); ++file) {
    const std::size_t step = files[file].rows_per_range();
    for (std::size_t first = 0; first < files[file].rows(); first += step)
      ranges.push_back({.file = file,
                        .first = first,
                        .count = std::min(step, files[file].rows() - first),
                        .first_row = rows + first});
    rows += files[file].rows();
  }
  return ranges;
}

}  // namespace bunchtrain::data
