// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Raw columns as a file holds them, handed from `data` to `features`: no file formats here.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::features {

/// Columns of `rows` jets by name without prefix. Jet columns hold one value per row; particle columns
/// `slots` per row. Values are as in the file (units not yet converted), widened to double for jets (event
/// numbers, labels), float for particles unless the file holds doubles that need it.
struct RawColumns {
  std::int64_t rows = 0;
  std::int64_t slots = 0;      ///< particle slots per row in the file (all of them, before truncation)
  std::int64_t first_row = 0;  ///< row number in the file, for messages
  std::string file;            ///< for messages
  std::map<std::string, std::vector<double>, std::less<>> jet;      ///< [rows]
  std::map<std::string, std::vector<float>, std::less<>> particle;  ///< [rows * slots], row-major
};

}  // namespace bunchtrain::features
