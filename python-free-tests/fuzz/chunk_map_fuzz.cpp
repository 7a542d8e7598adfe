// SPDX-License-Identifier: Apache-2.0
// Entry point of libFuzzer for the readers of chunk maps: any bytes are either an index, whose entries are no more than
// allowed, or nothing; and any bytes in the place of a kept map are that map or nothing, also where head and checksum are
// right. The first byte chooses among grids and addresses, the next two say where the object header is, the rest is the
// file.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "storage/kept_maps.hpp"

namespace {

using namespace bunchtrain::data;

/// A file in memory, written anew for each input.
class Scratch {
 public:
  Scratch()
      : folder_((std::filesystem::temp_directory_path() / ("chunk_map_fuzz-" + std::to_string(::getpid())))
                    .string()) {
    std::filesystem::create_directories(folder_);
  }
  ~Scratch() { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::uint8_t* data, std::size_t size) const {
    const std::string path = folder_ + "/" + name;
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr || std::fwrite(data, 1, size, file) != size) std::abort();
    std::fclose(file);
    return path;
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string folder_;
};

ChunkGrid grid_of(std::uint8_t choice) {
  switch (choice % 8) {
    case 0:
      return {.chunk = {4}, .most = {ChunkGrid::kUnlimited}, .chunk_bytes = 16};
    case 1:
      return {.chunk = {4, 3}, .most = {50, 7}, .chunk_bytes = 48};
    case 2:
      return {
          .chunk = {2, 3, 1}, .most = {ChunkGrid::kUnlimited, ChunkGrid::kUnlimited, 4}, .chunk_bytes = 24};
    case 3:
      return {.chunk = {4}, .most = {5000}, .chunk_bytes = 16};
    case 4:
      return {.chunk = {4, 3}, .most = {2, 2}, .chunk_bytes = 48};
    default:
      return {.chunk = {1, 5}, .most = {ChunkGrid::kUnlimited, 2}, .chunk_bytes = 20};
  }
}

void read_index(const FileBytes& file, std::uint8_t choice, std::uint64_t header) {
  constexpr std::uint64_t kMost = 4096;
  const FileFormat format{.base = choice & 0x40U ? 8U : 0U,
                          .address_bytes = choice & 0x20U ? 4U : 8U,
                          .length_bytes = choice & 0x20U ? 4U : 8U};
  const auto entries = read_chunks(file, format, header, grid_of(choice), kMost);
  if (entries && entries->size() > kMost) std::abort();
}

constexpr std::size_t kMapKey = 16, kMapCounts = 48, kMapHash = 72,
                      kMapHead = 104;  // places in the head of a kept map

/// The input as a map whose head names this key, with the hash of its contents.
std::vector<std::uint8_t> with_right_head(const MapKey& key, std::span<const std::uint8_t> data) {
  std::vector<std::uint8_t> bytes(data.begin(), data.end());
  bytes.resize(std::max(bytes.size(), kMapHead));
  const std::uint32_t version = 1, byte_order = 0x01020304;
  std::memcpy(bytes.data(), "btchunks", 8);
  std::memcpy(bytes.data() + 8, &version, sizeof(version));
  std::memcpy(bytes.data() + 12, &byte_order, sizeof(byte_order));
  std::memcpy(bytes.data() + kMapKey, key.hash.data(), kMapCounts - kMapKey);
  const std::uint64_t left = bytes.size() - kMapHead;
  const std::uint64_t places = bytes[kMapCounts] % 2 == 0 ? 0 : left / 24;
  const std::uint64_t chunks = places > 0 ? places : left / 16;
  std::memcpy(bytes.data() + kMapCounts, &chunks, sizeof(chunks));
  std::memcpy(bytes.data() + kMapCounts + 8, &places, sizeof(places));
  bytes.resize(kMapHead + 16 * chunks + 8 * places);
  bunchtrain::Hasher hasher;
  hasher.update(std::as_bytes(std::span(bytes).first(kMapHash)));
  hasher.update(std::as_bytes(std::span(bytes).subspan(kMapHead)));
  std::memcpy(bytes.data() + kMapHash, hasher.hex().data(), kMapHead - kMapHash);
  return bytes;
}

void read_kept_map(const Scratch& scratch, std::span<const std::uint8_t> data) {
  constexpr std::uint64_t kFileBytes = 1 << 16, kPlaces = 20;
  const MapKey key{.file = scratch.path("data.h5"), .dataset = "x", .hash = std::string(32, 'a')};
  scratch.write(places_of(key).front().filename().string(), data.data(), data.size());
  const auto map = find_kept_map(key, {10, 2}, kFileBytes);
  if (!map) return;
  if (map->chunks.size() > kPlaces || map->places.size() > kPlaces) std::abort();
  for (const StoredChunk& chunk : map->chunks)
    if (chunk.offset + chunk.bytes > kFileBytes) std::abort();
  for (const std::uint64_t place : map->places)
    if (place >= kPlaces || map->at(place).bytes == 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Scratch scratch;
  constexpr std::size_t kHead = 3;
  if (size < kHead) return 0;
  const std::span<const std::uint8_t> file(data + kHead, size - kHead);
  try {
    read_index(FileBytes(scratch.write("file", file.data(), file.size())), data[0], data[1] | data[2] << 8);
  } catch (const bunchtrain::DataError&) {
  }
  const MapKey key{.file = scratch.path("data.h5"), .dataset = "x", .hash = std::string(32, 'a')};
  read_kept_map(scratch, file);
  read_kept_map(scratch, with_right_head(key, file));
  return 0;
}
