// SPDX-License-Identifier: Apache-2.0
#include "chunk_map.hpp"

#include <fmt/format.h>

#include <limits>

#include "bunchtrain/core/error.hpp"
#include "hdf5_library.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

#if H5_VERSION_GE(1, 12, 0)
using ObjectInfo = H5O_info1_t;
#else
using ObjectInfo = H5O_info_t;
#endif

constexpr std::uint64_t kMostByLibrary = 20000;  // some seconds; ten times as many would take minutes

FileFormat format_of(hid_t file, const std::string& where) {
  const hdf5::PropertyList create(check(H5Fget_create_plist(file), where));
  FileFormat format;
  hsize_t userblock = 0;
  check(H5Pget_sizes(create.get(), &format.address_bytes, &format.length_bytes), where);
  check(H5Pget_userblock(create.get(), &userblock), where);
  format.base = userblock;
  return format;
}

std::vector<ChunkEntry> ask_library(hid_t dataset, std::size_t axes, std::uint64_t base,
                                    const std::string& where) {
  const hdf5::Dataspace space(check(H5Dget_space(dataset), where));
  hsize_t count = 0;
  check(H5Dget_num_chunks(dataset, space.get(), &count), where);
  if (count > kMostByLibrary)
    throw DataError(fmt::format("{}: {} chunks are too many for HDF5 {}.{} to map", where, count,
                                H5_VERS_MAJOR, H5_VERS_MINOR));
  std::vector<ChunkEntry> entries(count);
  for (hsize_t i = 0; i < count; ++i) {
    ChunkEntry& entry = entries[i];
    std::vector<hsize_t> first(axes);
    unsigned mask = 0;
    haddr_t address = 0;
    hsize_t bytes = 0;
    check(H5Dget_chunk_info(dataset, space.get(), i, first.data(), &mask, &address, &bytes), where);
    entry.first.assign(first.begin(), first.end());
    // Without the userblock in this version; where a later one includes it, the comparison with H5Dread finds
    // out.
    entry.chunk = {.offset = base + address, .bytes = static_cast<std::uint32_t>(bytes), .skip_mask = mask};
  }
  return entries;
}

// Counts of the grid; the product is bounded, since a damaged shape could ask for any amount of memory.
std::vector<std::uint64_t> make_grid(const DatasetLayout& layout, std::uint64_t file_bytes,
                                     const std::string& where) {
  std::vector<std::uint64_t> grid;
  std::uint64_t total = 1;
  for (std::size_t axis = 0; axis < layout.shape.size(); ++axis) {
    grid.push_back((layout.shape[axis] + layout.chunk[axis] - 1) / layout.chunk[axis]);
    if (grid.back() != 0 && total > (file_bytes + (1 << 20)) / grid.back())
      throw DataError(fmt::format("{}: more chunks than the file has bytes; the file is damaged", where));
    total *= grid.back();
  }
  return grid;
}

void place(const ChunkEntry& entry, const DatasetLayout& layout, std::uint64_t file_bytes, ChunkMap& map,
           const std::string& where) {
  std::uint64_t index = 0;
  for (std::size_t axis = 0; axis < map.grid.size(); ++axis) {
    const std::uint64_t place = entry.first[axis] / layout.chunk[axis];
    if (place >= map.grid[axis]) return;  // left over from a dataset that was larger once
    index = index * map.grid[axis] + place;
  }
  if (entry.chunk.offset > file_bytes || entry.chunk.bytes > file_bytes - entry.chunk.offset)
    throw DataError(
        fmt::format("{}: rows from {} on lie beyond the end of the file; it is truncated, fetch it again",
                    where, entry.first[0]));
  map.chunks[index] = entry.chunk;
}

}  // namespace

ChunkMap map_chunks(hid_t file, hid_t dataset, const DatasetLayout& layout, const FileBytes& bytes,
                    const std::string& where) {
  ChunkMap map;
  map.grid = make_grid(layout, bytes.size(), where);
  std::uint64_t total = 1;
  for (const auto extent : map.grid) total *= extent;
  map.chunks.resize(total);

  const FileFormat format = format_of(file, where);
  ObjectInfo info{};
  check(H5Oget_info2(dataset, &info, H5O_INFO_BASIC), where);
  // Chunks that a dataset no longer uses after shrinking may remain in the tree.
  const std::uint64_t most = 2 * total + 1024;
  auto entries = walk_chunk_tree(bytes, format, info.addr, layout.shape.size(), most);
  map.walked = entries.has_value();
  if (!entries) entries = ask_library(dataset, layout.shape.size(), format.base, where);
  for (const auto& entry : *entries) place(entry, layout, bytes.size(), map, where);
  return map;
}

}  // namespace bunchtrain::data
