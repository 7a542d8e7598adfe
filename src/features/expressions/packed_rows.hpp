// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which particle slots of a few rows take part, one after another without gaps.

#include <cstdint>
#include <span>
#include <vector>

namespace bunchtrain::features::detail {

/// The particles of a group of rows: row r owns the entries begin[r] ... begin[r + 1] - 1 of `slot`.
struct PackedRows {
  std::vector<std::int32_t> begin = {0};  ///< [rows + 1]
  std::vector<std::int32_t> slot;         ///< particle slot within its row

  std::size_t rows() const noexcept { return begin.size() - 1; }
  std::size_t particles() const noexcept { return slot.size(); }
  std::span<const std::int32_t> slots_of(std::size_t row) const noexcept {
    return std::span(slot).subspan(static_cast<std::size_t>(begin[row]),
                                   static_cast<std::size_t>(begin[row + 1] - begin[row]));
  }
  void clear() {
    begin.assign(1, 0);
    slot.clear();
  }
  /// Closes the row whose slots were just appended to `slot`.
  void end_row() { begin.push_back(static_cast<std::int32_t>(slot.size())); }
};

}  // namespace bunchtrain::features::detail
