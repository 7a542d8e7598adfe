// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where the chunks of a dataset lie in the file.

#include <hdf5.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "io/file_bytes.hpp"
#include "row_spans.hpp"

namespace bunchtrain::data {

/// One stored chunk. `bytes` = 0: never written, all fill value.
struct StoredChunk {
  std::uint64_t offset = 0;  ///< in the file, userblock included
  std::uint32_t bytes = 0;
  std::uint32_t skip_mask = 0;
};

/// The chunks that are stored, by their place in the grid, last axis fastest.
struct ChunkMap {
  std::vector<std::uint64_t> grid;  ///< chunks along each axis
  std::vector<StoredChunk> chunks;
  std::vector<std::uint64_t> places;  ///< of `chunks`, ascending; empty if there is one everywhere
  bool has_all = true;                ///< there is a chunk at every place
  bool has_addresses = true;          ///< false: only `places` are known (too many chunks for HDF5 1.10)
  bool walked = false;                ///< by our own reading of the index, else by HDF5's

  /// The chunk at a place; one of 0 bytes if it was never written.
  StoredChunk at(std::uint64_t place) const;
  /// Chunks along all axes but the first.
  std::uint64_t chunks_per_block() const;
  /// Rows, of the dataset's `rows`, of which no chunk was ever written.
  RowSpans rows_without_chunks(std::uint64_t rows, std::uint64_t chunk_rows) const;
  /// Rows of which some chunks were written, others not.
  RowSpans rows_with_some_chunks(std::uint64_t rows, std::uint64_t chunk_rows) const;
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
/// the library, which tells of a great many chunks only whether they are there. Every count and address is
/// checked against the size of the file. The caller holds a LibraryLock.
/// @throws DataError if the index is damaged.
ChunkMap map_chunks(hid_t file, hid_t dataset, const DatasetLayout& layout, const FileBytes& bytes,
                    const std::string& where);

}  // namespace bunchtrain::data
