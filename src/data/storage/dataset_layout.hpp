// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What one HDF5 dataset looks like: shape, element type, storage, filters.

#include <hdf5.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chunk_filters.hpp"
#include "element_type.hpp"

namespace bunchtrain::data {

/// A member of a compound type: a number or an array of numbers.
struct CompoundMember {
  std::string name;
  std::size_t offset = 0;
  std::vector<std::size_t> shape;   ///< empty = one number
  std::optional<ElementType> type;  ///< nothing if it is no number

  bool operator==(const CompoundMember&) const = default;
};

struct DatasetLayout {
  std::string name;
  std::vector<hsize_t> shape;
  std::size_t element_bytes = 0;
  std::optional<ElementType> type;      ///< of a plain dataset
  std::vector<CompoundMember> members;  ///< of a compound one
  std::string type_text;                ///< "float32", "compound", "string": for messages
  H5D_layout_t storage = H5D_CONTIGUOUS;
  std::vector<hsize_t> chunk;  ///< empty unless chunked
  std::vector<ChunkFilter> filters;
  std::vector<std::byte> fill;  ///< one element, for chunks that were never written

  std::size_t rows() const { return shape.empty() ? 0 : static_cast<std::size_t>(shape[0]); }
  std::size_t row_bytes() const;
  std::size_t chunk_bytes() const;
  /// Whether rows of `other` are the same bytes.
  bool has_rows_of(const DatasetLayout& other) const;
  const CompoundMember* find(std::string_view member) const;
};

/// The caller holds a LibraryLock. @param where for messages: "FILE, dataset 'NAME'". @throws DataError
DatasetLayout describe_dataset(hid_t dataset, std::string name, const std::string& where);

/// Fills `out` with copies of one element.
void repeat(std::span<const std::byte> element, std::span<std::byte> out);
/// `bytes` of such copies, in memory of the thread that it uses again at its next call.
std::span<const std::byte> repeated(std::span<const std::byte> element, std::size_t bytes);

/// "[6000, 200, 4] float32".
std::string to_string(const DatasetLayout& layout);

}  // namespace bunchtrain::data
