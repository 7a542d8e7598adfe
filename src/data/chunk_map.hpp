// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where the chunks of a dataset lie in the file.

#include <hdf5.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "file_bytes.hpp"

namespace bunchtrain::data {

/// One stored chunk. `bytes` = 0: never written, all fill value.
struct StoredChunk {
  std::uint64_t offset = 0;  ///< in the file, userblock included
  std::uint32_t bytes = 0;
  std::uint32_t skip_mask = 0;
};

/// Chunks by their place in the grid, last axis fastest.
struct ChunkMap {
  std::vector<std::uint64_t> grid;  ///< chunks along each axis
  std::vector<StoredChunk> chunks;
  bool walked = false;  ///< by our own reading of the index, else by HDF5's
};

/// How the addresses of a file are to be read.
struct FileFormat {
  std::uint64_t base = 0;  ///< bytes of the userblock: addresses count from its end
  std::size_t address_bytes = 8;
  std::size_t length_bytes = 8;
};

/// One entry of a chunk index: the chunk's first element, without the axis of the element's bytes.
struct ChunkEntry {
  std::vector<std::uint64_t> first;
  StoredChunk chunk;
};

/// Walks the version 1 B-tree of the dataset whose object header is at `header_address`.
/// @return nothing if the dataset is indexed in another way or the structures do not make sense.
std::optional<std::vector<ChunkEntry>> walk_chunk_tree(const FileBytes& bytes, const FileFormat& format,
                                                       std::uint64_t header_address, std::size_t axes,
                                                       std::uint64_t most_entries);

/// Maps a chunked dataset.
///
/// HDF5 1.10 finds the i-th chunk by counting from the first: mapping is quadratic there, hours for a million
/// chunks. Files of the default format have a version 1 B-tree, which we walk ourselves; others go through
/// the library. Every count and address is checked against the size of the file. The caller holds a
/// LibraryLock.
/// @throws DataError if the index is damaged, or too large to be mapped by the library.
ChunkMap map_chunks(hid_t file, hid_t dataset, const DatasetLayout& layout, const FileBytes& bytes,
                    const std::string& where);

}  // namespace bunchtrain::data
