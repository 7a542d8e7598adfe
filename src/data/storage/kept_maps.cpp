// SPDX-License-Identifier: Apache-2.0
// A kept map is a header and two arrays as they lie in memory: chunks, then their places if some are missing. The
// hash in the header covers both arrays and all of the header before it.
#include "kept_maps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <span>
#include <type_traits>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kHashedHeadBytes = 2048;  // superblock, root group
constexpr std::uint64_t kHashedHeaderBytes = 512;
constexpr std::chrono::seconds kUnsettled{3};  // some file systems tell time in steps of two seconds

struct Header {
  std::array<char, 8> magic = {'b', 't', 'c', 'h', 'u', 'n', 'k', 's'};
  std::uint32_t version = 1;
  std::uint32_t byte_order = 0x01020304;
  std::array<char, 32> key{};
  std::uint64_t chunks = 0, places = 0, walked = 0;
  std::array<char, 32> hash{};
};
static_assert(sizeof(Header) == 104 && std::is_trivially_copyable_v<Header>);
static_assert(sizeof(StoredChunk) == 16 && std::is_trivially_copyable_v<StoredChunk>);

template <class Value>
std::span<const std::byte> bytes_of(const std::vector<Value>& values) {
  return std::as_bytes(std::span(values));
}

std::array<char, 32> as_digits(const std::string& hex) {
  std::array<char, 32> digits{};
  std::copy_n(hex.begin(), std::min(hex.size(), digits.size()), digits.begin());
  return digits;
}

std::array<char, 32> hash_of(const Header& header, const ChunkMap& map) {
  Hasher hasher;
  hasher.update(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, hash)));
  hasher.update(bytes_of(map.chunks));
  hasher.update(bytes_of(map.places));
  return as_digits(hasher.hex());
}

Header header_of(const MapKey& key, const ChunkMap& map) {
  Header header{.key = as_digits(key.hash)};
  header.chunks = map.chunks.size();
  header.places = map.places.size();
  header.walked = map.walked ? 1 : 0;
  header.hash = hash_of(header, map);
  return header;
}

bool belongs_to(const Header& header, const MapKey& key, std::uint64_t total, std::uint64_t bytes) {
  const Header expected{.key = as_digits(key.hash)};
  if (std::memcmp(&header, &expected, offsetof(Header, chunks)) != 0) return false;
  const bool counted = header.places == 0 ? header.chunks == total : header.places == header.chunks;
  return counted && header.chunks <= total && header.walked <= 1 &&
         bytes ==
             sizeof(Header) + header.chunks * sizeof(StoredChunk) + header.places * sizeof(std::uint64_t);
}

bool makes_sense(const ChunkMap& map, std::uint64_t total, std::uint64_t file_bytes) {
  const auto inside = [&](const StoredChunk& chunk) {
    return chunk.bytes > 0 && chunk.offset <= file_bytes && chunk.bytes <= file_bytes - chunk.offset;
  };
  return std::ranges::all_of(map.chunks, inside) &&
         std::ranges::adjacent_find(map.places, std::ranges::greater_equal{}) == map.places.end() &&
         (map.places.empty() || map.places.back() < total);
}

template <class Value>
void fill(std::vector<Value>& values, std::uint64_t count, const FileBytes& file, std::uint64_t& offset) {
  values.resize(count);
  file.read(offset, std::as_writable_bytes(std::span(values)));
  offset += count * sizeof(Value);
}

/// @throws DataError, IoError if it cannot be read
std::optional<ChunkMap> read_map(const fs::path& place, const MapKey& key, std::uint64_t total,
                                 std::uint64_t file_bytes) {
  const FileBytes file(place.string());
  Header header;
  if (file.size() < sizeof(header)) return std::nullopt;
  file.read(0, std::as_writable_bytes(std::span(&header, 1)));
  if (!belongs_to(header, key, total, file.size())) return std::nullopt;
  ChunkMap map;
  map.walked = header.walked != 0;
  std::uint64_t offset = sizeof(header);
  fill(map.chunks, header.chunks, file, offset);
  fill(map.places, header.places, file, offset);
  if (hash_of(header, map) != header.hash || !makes_sense(map, total, file_bytes)) return std::nullopt;
  map.has_all = map.places.empty();
  return map;
}

/// In the user's cache: empty if there is none.
fs::path cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache != nullptr && fs::path(cache).is_absolute()) return fs::path(cache) / "bunchtrain" / "chunk_maps";
  if (home != nullptr && fs::path(home).is_absolute())
    return fs::path(home) / ".cache" / "bunchtrain" / "chunk_maps";
  return {};
}

bool is_settled(const FileStamp& file) {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::nanoseconds(file.modified_ns) + kUnsettled < since;
}

void write_map(const fs::path& place, const MapKey& key, const ChunkMap& map) {
  const Header header = header_of(key, map);
  AtomicFile file(place);
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(bytes_of(map.chunks));
  file.write(bytes_of(map.places));
  file.commit();
}

/// Whether it could be kept there.
bool try_to_keep(const fs::path& place, const MapKey& key, const ChunkMap& map) {
  std::error_code ignored;
  if (place.parent_path() == cache_folder()) fs::create_directories(place.parent_path(), ignored);
  try {
    write_map(place, key, map);
    return true;
  } catch (const Error&) {
    return false;  // no right to write there, no room: it costs the time of the next opening
  }
}

}  // namespace

MapKey make_map_key(const FileBytes& file, const DatasetLayout& layout, std::uint64_t header_address) {
  Hasher hasher;
  const auto add_bytes = [&](std::uint64_t offset, std::uint64_t count) {
    const std::uint64_t left = file.size() - std::min(offset, file.size());
    std::vector<std::byte> bytes(std::min(count, left));
    file.read(offset, bytes);
    hasher.update(bytes);
  };
  std::string text = fmt::format("{} bytes, modified {}, {} {}, chunks", file.size(),
                                 file.stamp().modified_ns, layout.name, to_string(layout));
  for (const auto extent : layout.chunk) text += fmt::format(" {}", extent);
  hasher.update(std::as_bytes(std::span(text)));
  add_bytes(0, kHashedHeadBytes);
  add_bytes(header_address, kHashedHeaderBytes);
  return {.file = file.path(), .dataset = layout.name, .hash = hasher.hex()};
}

std::vector<fs::path> places_of(const MapKey& key) {
  std::error_code error;
  const fs::path file = fs::absolute(key.file, error);
  if (error) return {};
  const auto short_hash = [](const std::string& text) { return hash_hex(text).substr(0, 16); };
  const std::string name = file.filename().string();
  std::vector<fs::path> places = {file.parent_path() /
                                  fmt::format(".{}.{}.chunks", name, short_hash(key.dataset))};
  if (const fs::path cache = cache_folder(); !cache.empty())
    places.push_back(cache / fmt::format("{}.chunks", short_hash(file.string() + '\n' + key.dataset)));
  return places;
}

std::optional<ChunkMap> find_kept_map(const MapKey& key, std::vector<std::uint64_t> grid,
                                      std::uint64_t file_bytes) {
  std::uint64_t total = 1;
  for (const std::uint64_t extent : grid) total *= extent;
  for (const fs::path& place : places_of(key)) {
    std::error_code error;
    if (!fs::is_regular_file(place, error)) continue;
    try {
      if (auto map = read_map(place, key, total, file_bytes)) {
        map->grid = std::move(grid);
        return map;
      }
    } catch (const Error&) {
      continue;  // it cannot be read: as if it were not there
    }
  }
  return std::nullopt;
}

void keep_map(const MapKey& key, const ChunkMap& map, const FileStamp& file) {
  const std::uint64_t least = map.walked ? kLeastKeptChunks : kLeastKeptSlowChunks;
  if (!map.has_addresses || map.chunks.size() < least || !is_settled(file)) return;
  for (const fs::path& place : places_of(key))
    if (try_to_keep(place, key, map)) return;
}

}  // namespace bunchtrain::data
