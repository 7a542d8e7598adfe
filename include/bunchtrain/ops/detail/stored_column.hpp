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

}  // namespace bunchtrain::ops::detail
