// SPDX-License-Identifier: Apache-2.0
// Entry point of libFuzzer for the readers of chunk maps: any bytes are either an index, whose entries are no more than
// allowed, or nothing; and any bytes in the place of a kept map are that map or nothing. The first byte chooses among
// grids and addresses, the rest is the file.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "storage/kept_maps.hpp"

namespace {

using namespace bunchtrain::data;

/// A file in memory, written anew for each input.
class Scratch {
 public:
  Scratch() : folder_("/dev/shm/chunk_map_fuzz-" + std::to_string(::getpid())) {
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
  switch (choice % 4) {
    case 0:
      return {.chunk = {4}, .most = {ChunkGrid::kUnlimited}, .chunk_bytes = 16};
    case 1:
      return {.chunk = {4, 3}, .most = {50, 7}, .chunk_bytes = 48};
    case 2:
      return {
          .chunk = {2, 3, 1}, .most = {ChunkGrid::kUnlimited, ChunkGrid::kUnlimited, 4}, .chunk_bytes = 24};
    default:
      return {.chunk = {1, 5}, .most = {ChunkGrid::kUnlimited, 2}, .chunk_bytes = 20};
  }
}

void read_index(const FileBytes& file, std::uint8_t choice) {
  constexpr std::uint64_t kMost = 4096;
  const FileFormat format{.base = choice & 0x40U ? 8U : 0U,
                          .address_bytes = choice & 0x20U ? 4U : 8U,
                          .length_bytes = choice & 0x20U ? 4U : 8U};
  const std::uint64_t header = choice & 0x10U ? 96 : 0;
  const auto entries = read_chunks(file, format, header, grid_of(choice), kMost);
  if (entries && entries->size() > kMost) std::abort();
}

void read_kept_map(const Scratch& scratch, const std::uint8_t* data, std::size_t size) {
  const MapKey key{.file = scratch.path("data.h5"), .dataset = "x", .hash = std::string(32, 'a')};
  scratch.write(places_of(key).front().filename().string(), data, size);
  if (const auto map = find_kept_map(key, {10, 2}, 1 << 16))
    if (map->chunks.size() > 20 || map->places.size() > 20) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Scratch scratch;
  if (size == 0) return 0;
  try {
    read_index(FileBytes(scratch.write("file", data + 1, size - 1)), data[0]);
  } catch (const bunchtrain::DataError&) {
  }
  read_kept_map(scratch, data + 1, size - 1);
  return 0;
}
