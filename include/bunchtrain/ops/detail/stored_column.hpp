// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers of a column as they lie in bytes of a file, for kernels: what `data::ColumnLayout` says, without HDF5.

#include <cstdint>

namespace bunchtrain::ops::detail {

/// IEEE half, single, double, or an integer of 1 to 8 bytes.
enum class StoredKind : std::uint8_t { floating, signed_integer, unsigned_integer };

/// The value of (row, slot) begins at byte row * row_bytes + offset + slot * slot_bytes.
struct StoredColumn {
  StoredKind kind = StoredKind::floating;
  bool big_endian = false;
  std::int64_t bytes = 4;
  std::int64_t row_bytes = 0, offset = 0, slot_bytes = 0, slots = 1;
};

/// Bytes as the shuffle filter left them: byte j of element e lies at j * elements + e; what is left at the end of a chunk
/// lies as it is. An element of one byte: as they are.
struct StoredBytes {
  const std::uint8_t* bytes = nullptr;
  std::int64_t element_bytes = 1, elements = 0;
};

/// Some elements of a chunk that the shuffle filter took apart: byte j of element e lies at from + j * stride + first + e.
struct ShuffledBlock {
  std::int64_t from = 0;  ///< of the chunk, or of what was read of it, among the bytes
  std::int64_t to = 0;    ///< of the elements among those that were put together
  std::int64_t element_bytes = 1, stride = 0, first = 0, elements = 0;

  std::int64_t bytes() const { return element_bytes * elements; }
};

}  // namespace bunchtrain::ops::detail
