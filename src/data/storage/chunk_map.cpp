// SPDX-License-Identifier: Apache-2.0
#include "chunk_map.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "hdf5_library.hpp"
#include "kept_maps.hpp"

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

ChunkGrid grid_of(hid_t dataset, const DatasetLayout& layout, const std::string& where) {
  const hdf5::Dataspace space(check(H5Dget_space(dataset), where));
  std::vector<hsize_t> most(layout.shape.size());
  check(H5Sget_simple_extent_dims(space.get(), nullptr, most.data()), where);
  ChunkGrid grid{
      .chunk = {layout.chunk.begin(), layout.chunk.end()}, .most = {}, .chunk_bytes = layout.chunk_bytes()};
  for (std::size_t axis = 0; axis < most.size(); ++axis)
    grid.most.push_back(most[axis] == H5S_UNLIMITED
                            ? ChunkGrid::kUnlimited
                            : most[axis] / layout.chunk[axis] + (most[axis] % layout.chunk[axis] != 0));
  return grid;
}

// One chunk after the other: quadratic in HDF5 1.10.
std::vector<ChunkEntry> ask_library(hid_t dataset, std::uint64_t count, std::size_t axes, std::uint64_t base,
                                    const std::string& where) {
  const hdf5::Dataspace space(check(H5Dget_space(dataset), where));
  std::vector<ChunkEntry> entries(count);
  for (hsize_t i = 0; i < count; ++i) {
    ChunkEntry& entry = entries[i];
    std::vector<hsize_t> first(axes);
    unsigned mask = 0;
    haddr_t address = 0;
    hsize_t bytes = 0;
    check(H5Dget_chunk_info(dataset, space.get(), i, first.data(), &mask, &address, &bytes), where);
    entry.first.assign(first.begin(), first.end());
    // Without the userblock in this version; where a later one includes it, the
    // comparison with H5Dread finds out.
    entry.chunk = {.offset = base + address, .bytes = static_cast<std::uint32_t>(bytes), .skip_mask = mask};
  }
  return entries;
}

std::uint64_t count_chunks(hid_t dataset, const std::string& where) {
  const hdf5::Dataspace space(check(H5Dget_space(dataset), where));
  hsize_t count = 0;
  check(H5Dget_num_chunks(dataset, space.get(), &count), where);
  return count;
}

// Whether each chunk is there, which HDF5 finds in the index at once; its address would cost a walk.
void ask_library_for_places(hid_t dataset, const DatasetLayout& layout, std::uint64_t total, ChunkMap& map) {
  std::vector<hsize_t> first(map.grid.size());
  for (std::uint64_t place = 0; place < total; ++place) {
    std::uint64_t rest = place;
    for (std::size_t axis = map.grid.size(); axis-- > 0; rest /= map.grid[axis])
      first[axis] = rest % map.grid[axis] * layout.chunk[axis];
    hsize_t bytes = 0;
    if (H5Dget_chunk_storage_size(dataset, first.data(), &bytes) >= 0 && bytes > 0)
      map.places.push_back(place);
  }
}

std::vector<std::uint64_t> make_grid(const DatasetLayout& layout, const std::string& where) {
  std::vector<std::uint64_t> grid;
  std::uint64_t total = 1;
  for (std::size_t axis = 0; axis < layout.shape.size(); ++axis) {
    grid.push_back((layout.shape[axis] + layout.chunk[axis] - 1) / layout.chunk[axis]);
    if (__builtin_mul_overflow(total, grid.back(), &total))
      throw DataError(fmt::format("{}: has more chunks than can be counted; the file is damaged", where));
  }
  return grid;
}

struct Placed {
  std::uint64_t place;
  StoredChunk chunk;
};

std::optional<std::uint64_t> place_of(const ChunkEntry& entry, const DatasetLayout& layout,
                                      const std::vector<std::uint64_t>& grid) {
  std::uint64_t index = 0;
  for (std::size_t axis = 0; axis < grid.size(); ++axis) {
    const std::uint64_t place = entry.first[axis] / layout.chunk[axis];
    if (place >= grid[axis]) return std::nullopt;  // left over from a dataset that was larger once
    index = index * grid[axis] + place;
  }
  return index;
}

void require_inside(const ChunkEntry& entry, std::uint64_t file_bytes, const std::string& where) {
  if (entry.chunk.offset <= file_bytes && entry.chunk.bytes <= file_bytes - entry.chunk.offset) return;
  throw DataError(
      fmt::format("{}: rows from {} on lie beyond the end of the file; it is truncated, fetch it "
                  "again",
                  where, entry.first[0]));
}

void fill_map(const std::vector<ChunkEntry>& entries, const DatasetLayout& layout, std::uint64_t file_bytes,
              std::uint64_t total, ChunkMap& map, const std::string& where) {
  std::vector<Placed> placed;
  placed.reserve(entries.size());
  for (const auto& entry : entries) {
    const auto place = place_of(entry, layout, map.grid);
    if (!place || entry.chunk.bytes == 0) continue;
    require_inside(entry, file_bytes, where);
    placed.push_back({*place, entry.chunk});
  }
  std::ranges::stable_sort(placed, {}, &Placed::place);
  const auto doubled = std::ranges::unique(placed, {}, &Placed::place);
  placed.erase(doubled.begin(), doubled.end());
  for (const Placed& one : placed) map.chunks.push_back(one.chunk);
  if (placed.size() == total) return;
  for (const Placed& one : placed) map.places.push_back(one.place);
}

struct IndexPlace {
  FileFormat format;
  std::uint64_t header_address;
};

ChunkMap make_map(hid_t dataset, const DatasetLayout& layout, const FileBytes& bytes, const IndexPlace& place,
                  const std::vector<std::uint64_t>& grid, const std::string& where) {
  ChunkMap map;
  map.grid = grid;
  std::uint64_t total = 1;
  for (const auto extent : grid) total *= extent;
  // Chunks that a dataset no longer uses after shrinking may remain in the tree; each is a byte at least.
  const std::uint64_t most = 2 * std::min(total, bytes.size()) + 1024;
  auto entries =
      read_chunks(bytes, place.format, place.header_address, grid_of(dataset, layout, where), most);
  map.walked = entries.has_value();
  if (!entries) {
    const std::uint64_t count = count_chunks(dataset, where);
    if (count > kMostByLibrary) {
      map.has_addresses = false;
      map.has_all = count == total;
      if (!map.has_all) ask_library_for_places(dataset, layout, total, map);
      return map;
    }
    entries = ask_library(dataset, count, layout.shape.size(), place.format.base, where);
  }
  fill_map(*entries, layout, bytes.size(), total, map, where);
  map.has_all = map.chunks.size() == total;
  return map;
}

}  // namespace

StoredChunk ChunkMap::at(std::uint64_t place) const {
  if (places.empty()) return place < chunks.size() ? chunks[place] : StoredChunk{};
  const auto found = std::lower_bound(places.begin(), places.end(), place);
  if (found == places.end() || *found != place) return {};
  return chunks[static_cast<std::size_t>(found - places.begin())];
}

std::uint64_t ChunkMap::chunks_per_block() const {
  std::uint64_t chunks_in_block = 1;
  for (std::size_t axis = 1; axis < grid.size(); ++axis) chunks_in_block *= grid[axis];
  return chunks_in_block;
}

RowSpans ChunkMap::rows_without_chunks(std::uint64_t rows, std::uint64_t chunk_rows) const {
  if (has_all) return {};
  RowSpans with;
  const std::uint64_t in_block = chunks_per_block();
  for (const std::uint64_t place : places)
    if (with.empty() || with.back().first != place / in_block * chunk_rows)
      with.push_back({place / in_block * chunk_rows, chunk_rows});
  return complement(normalised(std::move(with)), rows);
}

RowSpans ChunkMap::rows_with_some_chunks(std::uint64_t rows, std::uint64_t chunk_rows) const {
  if (has_all) return {};
  RowSpans some;
  const std::uint64_t in_block = chunks_per_block();
  for (std::size_t i = 0; i < places.size();) {
    const std::uint64_t block = places[i] / in_block;
    const std::size_t first = i;
    while (i < places.size() && places[i] / in_block == block) ++i;
    if (i - first < in_block) some.push_back({block * chunk_rows, chunk_rows});
  }
  return cut(normalised(std::move(some)), 0, rows);
}

ChunkMap map_chunks(hid_t file, hid_t dataset, const DatasetLayout& layout, const FileBytes& bytes,
                    const std::string& where) {
  const std::vector<std::uint64_t> grid = make_grid(layout, where);
  std::uint64_t total = 1;
  for (const auto extent : grid) total *= extent;
  const FileFormat format = format_of(file, where);
  ObjectInfo info{};
  check(H5Oget_info2(dataset, &info, H5O_INFO_BASIC), where);
  if (total < kLeastKeptSlowChunks)
    return make_map(dataset, layout, bytes, {.format = format, .header_address = info.addr}, grid, where);

  const MapKey key = make_map_key(bytes, layout, format.base + info.addr);
  if (auto kept = find_kept_map(key, grid, bytes.size())) return *std::move(kept);
  ChunkMap map =
      make_map(dataset, layout, bytes, {.format = format, .header_address = info.addr}, grid, where);
  keep_map(key, map, bytes.stamp());
  return map;
}

}  // namespace bunchtrain::data
