// SPDX-License-Identifier: Apache-2.0
#include "chunk_filters.hpp"

#include <fmt/format.h>
#include <hdf5.h>
#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "bunchtrain/core/wording.hpp"
#include "codecs/codec.hpp"
#include "lzf.hpp"

namespace bunchtrain::data {
namespace {

using Bytes = std::span<const std::byte>;

constexpr int kLzf = 32000;
// A filter before the compression may have lengthened the chunk (fletcher32 by 4 bytes).
constexpr std::size_t kLongerByFilters = 64;

struct DecompressorCloser {
  void operator()(libdeflate_decompressor* decompressor) const noexcept {
    libdeflate_free_decompressor(decompressor);
  }
};

libdeflate_decompressor* thread_decompressor() {
  thread_local const std::unique_ptr<libdeflate_decompressor, DecompressorCloser> decompressor(
      libdeflate_alloc_decompressor());
  return decompressor.get();
}

// HDF5 stores a zlib stream; the checksum at its end is verified by libdeflate.
std::optional<Bytes> inflate(Bytes stored, std::size_t chunk_bytes, GrowingBuffer& buffer, std::string& why) {
  const auto out = buffer.take(chunk_bytes + kLongerByFilters);
  std::size_t written = 0;
  const auto result = libdeflate_zlib_decompress(thread_decompressor(), stored.data(), stored.size(),
                                                 out.data(), out.size(), &written);
  if (result != LIBDEFLATE_SUCCESS) {
    why = "the compressed bytes are damaged (deflate)";
    return std::nullopt;
  }
  return out.first(written);
}

std::optional<Bytes> undo_lzf(Bytes stored, std::size_t chunk_bytes, GrowingBuffer& buffer,
                              std::string& why) {
  const auto out = buffer.take(chunk_bytes + kLongerByFilters);
  const auto written = decompress_lzf(stored, out);
  if (written) return out.first(*written);
  why = "the compressed bytes are damaged (lzf)";
  return std::nullopt;
}

std::optional<Bytes> undo(const Codec& codec, Bytes stored, std::size_t chunk_bytes, GrowingBuffer& buffer,
                          std::string& why) {
  const auto out = buffer.take(chunk_bytes + kLongerByFilters);
  const auto written = codec.decompress(stored, out);
  if (written) return out.first(*written);
  why = fmt::format("the compressed bytes are damaged ({})", codec.name);
  return std::nullopt;
}

std::optional<Bytes> verify_checksum(Bytes stored, std::string& why) {
  if (stored.size() < 4) {
    why = "the chunk is shorter than its checksum";
    return std::nullopt;
  }
  const Bytes content = stored.first(stored.size() - 4);
  std::array<std::uint8_t, 4> bytes;
  std::memcpy(bytes.data(), stored.data() + content.size(), 4);
  const std::uint32_t expected = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | std::uint32_t{bytes[3]} << 24;
  if (fletcher32(content) != expected) {
    why = "the checksum (fletcher32) does not match: the bytes are damaged";
    return std::nullopt;
  }
  return content;
}

using Vector = std::uint8_t __attribute__((vector_size(16)));

Vector interleave_low(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

Vector interleave_high(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// Small elements: 16 bytes of each plane at a time, interleaved in log2(N) rounds.
template <std::size_t N>
void unshuffle_small(const std::byte* planes, std::size_t elements, std::byte* out) {
  std::size_t i = 0;
  for (; i + 16 <= elements; i += 16) {
    std::array<Vector, N> rows, next;
    for (std::size_t j = 0; j < N; ++j) std::memcpy(&rows[j], planes + j * elements + i, 16);
    for (std::size_t done = 1; done < N; done *= 2) {
      for (std::size_t j = 0; j < N / 2; ++j) {
        next[2 * j] = interleave_low(rows[j], rows[j + N / 2]);
        next[2 * j + 1] = interleave_high(rows[j], rows[j + N / 2]);
      }
      rows = next;
    }
    std::memcpy(out + N * i, rows.data(), 16 * N);
  }
  for (; i < elements; ++i)
    for (std::size_t j = 0; j < N; ++j) out[N * i + j] = planes[j * elements + i];
}

// Transposes 16 x 16 bytes: four rounds of interleaving rows i and i + 8.
void transpose_block(const std::byte* in, std::size_t in_stride, std::byte* out, std::size_t out_stride) {
  std::array<Vector, 16> rows, next;
  for (std::size_t i = 0; i < 16; ++i) std::memcpy(&rows[i], in + i * in_stride, 16);
  for (int round = 0; round < 4; ++round) {
    for (std::size_t i = 0; i < 8; ++i) {
      next[2 * i] = interleave_low(rows[i], rows[i + 8]);
      next[2 * i + 1] = interleave_high(rows[i], rows[i + 8]);
    }
    rows = next;
  }
  for (std::size_t i = 0; i < 16; ++i) std::memcpy(out + i * out_stride, &rows[i], 16);
}

// Large elements (rows of a table): a byte matrix [element_bytes, elements] becomes [elements,
// element_bytes], in blocks.
void unshuffle_large(const std::byte* planes, std::size_t element_bytes, std::size_t elements,
                     std::byte* out) {
  const std::size_t whole_bytes = element_bytes / 16 * 16;
  const std::size_t whole_elements = elements / 16 * 16;
  for (std::size_t byte = 0; byte < whole_bytes; byte += 16)
    for (std::size_t i = 0; i < whole_elements; i += 16)
      transpose_block(planes + byte * elements + i, elements, out + i * element_bytes + byte, element_bytes);
  for (std::size_t byte = 0; byte < element_bytes; ++byte) {
    const std::size_t first = byte < whole_bytes ? whole_elements : 0;
    for (std::size_t i = first; i < elements; ++i)
      out[i * element_bytes + byte] = planes[byte * elements + i];
  }
}

}  // namespace

bool can_decode(const ChunkFilter& filter) noexcept {
  if (const Codec* codec = find_codec(filter.id)) return codec->is_built;
  return filter.id == H5Z_FILTER_DEFLATE || filter.id == H5Z_FILTER_FLETCHER32 || filter.id == kLzf ||
         (filter.id == H5Z_FILTER_SHUFFLE && !filter.values.empty() && filter.values[0] > 0);
}

std::string describe(const ChunkFilter& filter) {
  struct Known {
    int id;
    const char* name;
  };
  constexpr std::array kKnown = {Known{1, "deflate"},   Known{2, "shuffle"},  Known{3, "fletcher32"},
                                 Known{4, "szip"},      Known{5, "nbit"},     Known{6, "scale-offset"},
                                 Known{305, "lzo"},     Known{307, "bzip2"},  Known{kLzf, "lzf"},
                                 Known{32001, "blosc"}, Known{32004, "lz4"},  Known{32008, "bitshuffle"},
                                 Known{32013, "zfp"},   Known{32015, "zstd"}, Known{32026, "blosc2"}};
  for (const auto& entry : kKnown)
    if (entry.id == filter.id) return fmt::format("{} ({})", entry.name, entry.id);
  return fmt::format("{} ({})", filter.name.empty() ? "filter" : filter.name, filter.id);
}

std::string_view decoder_of(std::span<const ChunkFilter> filters) noexcept {
  for (const auto& filter : filters)
    if (const Codec* codec = find_codec(filter.id)) return codec->name;
  return "inflate";
}

std::string way_out_of(const ChunkFilter& filter) {
  // Plug-ins come with the Python package hdf5plugin; h5py itself brings none of these filters.
  constexpr int kFirstRegistered = 256;
  if (filter.id < kFirstRegistered)
    return "use an HDF5 library that is built with it, or rewrite the file without it: h5repack -f GZIP=4 IN "
           "OUT, where such a library is";
  const Codec* codec = find_codec(filter.id);
  const std::string own =
      codec == nullptr
          ? ""
          : fmt::format("build bunchtrain where {} is installed (Debian), which reads it without HDF5; or ",
                        codec->package);
  return own +
         "install its plug-in (pip install hdf5plugin), let HDF5 load it (export HDF5_PLUGIN_PATH=$(python3 "
         "-c \"import hdf5plugin; print(hdf5plugin.PLUGIN_PATH)\")) and give " +
         setting("allow_plugins") + "; or rewrite the file there: h5repack -f GZIP=4 IN OUT";
}

std::optional<std::span<const std::byte>> decode_chunk(std::span<const ChunkFilter> filters,
                                                       std::uint32_t skip_mask, Bytes stored,
                                                       std::size_t chunk_bytes, DecodeScratch& scratch,
                                                       std::string& why) {
  Bytes bytes = stored;
  GrowingBuffer* free = &scratch.first;
  GrowingBuffer* used = &scratch.second;
  for (std::size_t i = filters.size(); i-- > 0;) {
    if (skip_mask >> i & 1) continue;
    std::optional<Bytes> decoded;
    if (filters[i].id == H5Z_FILTER_DEFLATE) {
      decoded = inflate(bytes, chunk_bytes, *free, why);
      std::swap(free, used);
    } else if (filters[i].id == kLzf) {
      decoded = undo_lzf(bytes, chunk_bytes, *free, why);
      std::swap(free, used);
    } else if (const Codec* codec = find_codec(filters[i].id)) {
      decoded = undo(*codec, bytes, chunk_bytes, *free, why);
      std::swap(free, used);
    } else if (filters[i].id == H5Z_FILTER_SHUFFLE) {
      const auto out = free->take(bytes.size());
      unshuffle(bytes, filters[i].values[0], out.data());
      decoded = out;
      std::swap(free, used);
    } else {
      decoded = verify_checksum(bytes, why);
    }
    if (!decoded) return std::nullopt;
    bytes = *decoded;
  }
  if (bytes.size() != chunk_bytes) {
    why = fmt::format("the chunk decodes to {} bytes instead of {}", bytes.size(), chunk_bytes);
    return std::nullopt;
  }
  return bytes;
}

std::size_t shuffled_elements(std::span<const ChunkFilter> filters) noexcept {
  if (filters.size() != 1 || filters[0].id != H5Z_FILTER_SHUFFLE || filters[0].values.empty()) return 0;
  return filters[0].values[0];
}

void unshuffle(std::span<const std::byte> planes, std::size_t element_bytes, std::byte* out) {
  const std::size_t elements = planes.size() / element_bytes;
  switch (element_bytes) {
    case 1:
      std::copy(planes.begin(), planes.end(), out);
      return;
    case 2:
      unshuffle_small<2>(planes.data(), elements, out);
      break;
    case 4:
      unshuffle_small<4>(planes.data(), elements, out);
      break;
    case 8:
      unshuffle_small<8>(planes.data(), elements, out);
      break;
    default:
      unshuffle_large(planes.data(), element_bytes, elements, out);
  }
  const std::size_t whole = elements * element_bytes;
  std::copy(planes.begin() + static_cast<std::ptrdiff_t>(whole), planes.end(), out + whole);
}

// Sums of big-endian 16-bit words modulo 65535, reduced every 360 words so that 32 bits suffice.
std::uint32_t fletcher32(Bytes bytes) noexcept {
  const auto fold = [](std::uint32_t sum) { return (sum & 0xffff) + (sum >> 16); };
  std::uint32_t low = 0, high = 0;
  std::size_t words = bytes.size() / 2;
  const std::byte* at = bytes.data();
  while (words > 0) {
    const std::size_t group = std::min<std::size_t>(words, 360);
    words -= group;
    for (std::size_t i = 0; i < group; ++i, at += 2) {
      low += std::to_integer<std::uint32_t>(at[0]) << 8 | std::to_integer<std::uint32_t>(at[1]);
      high += low;
    }
    low = fold(low);
    high = fold(high);
  }
  if (bytes.size() % 2 != 0) {
    low += std::to_integer<std::uint32_t>(*at) << 8;
    high += low;
    low = fold(low);
    high = fold(high);
  }
  return fold(high) << 16 | fold(low);
}

}  // namespace bunchtrain::data
