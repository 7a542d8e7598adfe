// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers as they lie in a file, and their widening to the float and double columns that features work on.

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/ops/detail/stored_column.hpp"

namespace bunchtrain::data {

/// A number type of a file: IEEE half, single, double, or an integer of 1 to 8 bytes, in either byte order.
struct ElementType {
  enum class Kind : std::uint8_t { floating, signed_integer, unsigned_integer };
  Kind kind = Kind::floating;
  bool big_endian = false;
  std::size_t bytes = 4;

  bool operator==(const ElementType&) const = default;
};

/// Nothing if `type` is no plain number (strings, references, long double, ...). Enumerations (h5py stores
/// booleans so) count as integers, bit fields (PyTables stores booleans so) as unsigned ones. The caller
/// holds a LibraryLock.
std::optional<ElementType> to_element_type(hid_t type);
/// "float32", "big-endian int16".
std::string to_string(const ElementType& type);

/// Where the values of one column lie in rows of bytes: value (row, slot) is at row * row_bytes + offset +
/// slot * slot_bytes.
struct ColumnLayout {
  ElementType type;
  std::size_t row_bytes = 0;
  std::size_t offset = 0;
  std::size_t slot_bytes = 0;
  std::size_t slots = 1;
};

/// The same for kernels.
ops::detail::StoredColumn as_stored(const ColumnLayout& column);

/// Writes the `rows` * slots values of a column to `out`, row by row.
void widen(const ColumnLayout& column, const std::byte* bytes, std::size_t rows, float* out);
void widen(const ColumnLayout& column, const std::byte* bytes, std::size_t rows, double* out);

}  // namespace bunchtrain::data
