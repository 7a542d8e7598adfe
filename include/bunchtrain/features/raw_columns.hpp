// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Raw columns as a file holds them, handed from `data` to `features`: no file formats here.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::features {

/// Columns of `rows` jets (events) by name without prefix. Jet columns hold one value per row; particle (hit)
/// columns `slots` per row, or as many as `row_splits` say. Values are as in the file (units not yet converted), widened to double for jets (event
/// numbers, labels), float for particles unless the file holds doubles that need it.
struct RawColumns {
  std::int64_t rows = 0;
  std::int64_t slots = 0;      ///< particle slots per row in the file (all of them, before truncation)
  std::int64_t first_row = 0;  ///< row number in the file, for messages
  std::string file;            ///< for messages
  std::map<std::string, std::vector<double>, std::less<>> jet;      ///< [rows]
  std::map<std::string, std::vector<float>, std::less<>> particle;  ///< [rows * slots], row-major, or ragged
  /// Of ragged rows [rows + 1], ascending from 0: row r has the entries row_splits[r] to row_splits[r + 1] - 1 of
  /// the particle columns. Empty: `slots` entries each.
  std::vector<std::int64_t> row_splits = {};
  /// [rows]: how many of a row's slots are taken, in a file that counts them; empty: the mask alone decides.
  std::vector<std::int64_t> counts = {};

  /// Where the entries of a row begin.
  std::int64_t begin_of(std::int64_t row) const {
    return row_splits.empty() ? row * slots : row_splits[static_cast<std::size_t>(row)];
  }
  /// How many of them may be particles.
  std::int64_t slots_of(std::int64_t row) const {
    const auto r = static_cast<std::size_t>(row);
    if (!counts.empty()) return counts[r];
    return row_splits.empty() ? slots : row_splits[r + 1] - row_splits[r];
  }
  /// Length of particle columns.
  std::int64_t entries() const { return row_splits.empty() ? rows * slots : row_splits.back(); }
};

}  // namespace bunchtrain::features
