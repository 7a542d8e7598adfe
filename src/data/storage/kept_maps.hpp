// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Chunk maps that were made before, in files beside the data or in the user's cache.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "chunk_map.hpp"

namespace bunchtrain::data {

/// What a map belongs to: another file, another dataset or a file that was written to has another key.
struct MapKey {
  std::string file;     ///< its path
  std::string dataset;  ///< its name in the file
  std::string hash;     ///< 32 digits: of stamp, head of the file, object header and layout
};

/// @param header_address of the dataset's object header, from the beginning of the file
MapKey make_map_key(const FileBytes& file, const DatasetLayout& layout, std::uint64_t header_address);

/// Smaller maps are as quickly read from the data file.
inline constexpr std::uint64_t kLeastKeptChunks = 1 << 16;
/// Of those that HDF5 makes, which takes seconds.
inline constexpr std::uint64_t kLeastKeptSlowChunks = 1 << 10;

/// Where the map of a dataset is kept: "FOLDER/.data.h5.1f0c.chunks" beside the file, else in the user's cache
/// ($XDG_CACHE_HOME or ~/.cache, in bunchtrain/chunk_maps), if there is one.
std::vector<std::filesystem::path> places_of(const MapKey& key);

/// The map that was kept under this key; nothing if there is none, or one of something else, of another version, or
/// damaged. Nothing in it is believed beyond that: chunks are where the file has bytes, one at a place.
/// @param grid of the dataset
std::optional<ChunkMap> find_kept_map(const MapKey& key, std::vector<std::uint64_t> grid,
                                      std::uint64_t file_bytes);

/// Keeps a map at the first place that can be written to, if it is large enough and the file has not been written to
/// within the last seconds (a time stamp would not tell a second change). Never throws for want of a place.
void keep_map(const MapKey& key, const ChunkMap& map, const FileStamp& file);

}  // namespace bunchtrain::data
