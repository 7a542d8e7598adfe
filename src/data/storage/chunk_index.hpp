// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Indexes of chunks in files of the newest format: single chunks, implicit ones, fixed and extensible arrays,
/// version 2 B-trees.

#include <cstdint>
#include <vector>

#include "chunk_map.hpp"
#include "file_cursor.hpp"

namespace bunchtrain::data {

/// What a data layout message of version 4 says of an index.
struct ChunkIndex {
  enum class Kind { single = 1, implicit = 2, fixed_array = 3, extensible_array = 4, tree = 5 };
  Kind kind = Kind::single;
  bool filtered = false;             ///< of a single chunk
  std::uint64_t filtered_bytes = 0;  ///< of a single chunk with filters
  std::uint32_t skip_mask = 0;
  std::uint64_t address = 0;  ///< of the index; of a single or implicit chunk its own
};

/// The part of a layout message behind version and class. @throws Unreadable
ChunkIndex read_index_message(FileCursor& message, const FileFormat& format, std::size_t axes);

/// @throws Unreadable
std::vector<ChunkEntry> read_chunk_index(const FileBytes& file, const FileFormat& format,
                                         const ChunkIndex& index, const ChunkGrid& grid,
                                         std::uint64_t most_entries);

}  // namespace bunchtrain::data
