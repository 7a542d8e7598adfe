// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where the chunks of a dataset lie in the file.

#include <hdf5.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "file_cursor.hpp"
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

/// The chunks of a dataset as an index numbers them.
struct ChunkGrid {
  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  std::vector<std::uint64_t> chunk;  ///< extent along each axis
  std::vector<std::uint64_t> most;   ///< chunks along each axis when the dataset is as large as it may become
  std::uint64_t chunk_bytes = 0;     ///< without filters
};

/// One entry of a chunk index: the chunk's first element, without the axis of the element's bytes.
struct ChunkEntry {
  std::vector<std::uint64_t> first;
  StoredChunk chunk;
};

/// Reads the index of the dataset whose object header is at `header_address`: version 1 B-trees, and all that
/// the newest format has.
/// @return nothing if the structures are unknown or do not make sense.
std::optional<std::vector<ChunkEntry>> read_chunks(const FileBytes& bytes, const FileFormat& format,
                                                   std::uint64_t header_address, const ChunkGrid& grid,
                                                   std::uint64_t most_entries);

/// Maps a chunked dataset.
///
/// HDF5 1.10 finds the i-th chunk by counting from the first: mapping is quadratic there, hours for a million
/// chunks. So indexes are read without it; where one does not make sense the library is asked, which tells of a
/// great many chunks only whether they are there. Every count and address is
/// checked against the size of the file. Large maps are kept for the next opening (kept_maps.hpp). The caller holds a
/// LibraryLock.
/// @throws DataError if the index is damaged.
ChunkMap map_chunks(hid_t file, hid_t dataset, const DatasetLayout& layout, const FileBytes& bytes,
                    const std::string& where);

}  // namespace bunchtrain::data
