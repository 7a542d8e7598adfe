// SPDX-License-Identifier: Apache-2.0
#include <lz4.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {
namespace {

// The registered filter's form, numbers big-endian: bytes of all (8), bytes of a block (4), then of each block its
// stored bytes (4) and these. A block that would not shrink is stored as it is.
constexpr std::size_t kHeadBytes = 12;
constexpr std::size_t kCountBytes = 4;
constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

std::uint64_t read_number(std::span<const std::byte> bytes) {
  std::uint64_t number = 0;
  for (const std::byte byte : bytes) number = number << 8 | std::to_integer<std::uint64_t>(byte);
  return number;
}

void append_number(std::vector<std::byte>& out, std::uint64_t number, int bytes) {
  while (bytes-- > 0) out.push_back(static_cast<std::byte>(number >> (8 * bytes)));
}

// `out` holds exactly what the block should decode to.
bool decompress_block(std::span<const std::byte> stored, std::span<std::byte> out) {
  if (stored.size() == out.size()) {
    std::memcpy(out.data(), stored.data(), stored.size());
    return true;
  }
  const int written =
      LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(out.data()),
                          static_cast<int>(stored.size()), static_cast<int>(out.size()));
  return written == static_cast<int>(out.size());
}

std::optional<std::size_t> decompress(std::span<const std::byte> stored, std::span<std::byte> out) {
  if (stored.size() < kHeadBytes) return std::nullopt;
  const std::uint64_t total = read_number(stored.first(8));
  const std::uint64_t block = std::min(read_number(stored.subspan(8, 4)), total);
  if (total > out.size() || (block == 0 && total > 0) || block > LZ4_MAX_INPUT_SIZE) return std::nullopt;
  stored = stored.subspan(kHeadBytes);
  for (std::uint64_t done = 0; done < total;) {
    if (stored.size() < kCountBytes) return std::nullopt;
    const std::uint64_t bytes = read_number(stored.first(kCountBytes));
    stored = stored.subspan(kCountBytes);
    const std::uint64_t plain = std::min(block, total - done);
    if (bytes > stored.size() || bytes > LZ4_MAX_INPUT_SIZE) return std::nullopt;
    if (!decompress_block(stored.first(bytes), out.subspan(done, plain))) return std::nullopt;
    stored = stored.subspan(bytes);
    done += plain;
  }
  return total;
}

void append_block(std::span<const std::byte> bytes, std::vector<std::byte>& out) {
  std::vector<char> packed(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(bytes.size()))));
  const int written = LZ4_compress_default(reinterpret_cast<const char*>(bytes.data()), packed.data(),
                                           static_cast<int>(bytes.size()), static_cast<int>(packed.size()));
  const bool shrinks = written > 0 && static_cast<std::size_t>(written) < bytes.size();
  const auto stored =
      shrinks ? std::as_bytes(std::span(packed).first(static_cast<std::size_t>(written))) : bytes;
  append_number(out, stored.size(), kCountBytes);
  out.insert(out.end(), stored.begin(), stored.end());
}

std::vector<std::byte> compress(std::span<const std::byte> bytes) {
  std::vector<std::byte> out;
  append_number(out, bytes.size(), 8);
  append_number(out, std::min(bytes.size(), kBlockBytes), kCountBytes);
  while (!bytes.empty()) {
    const std::size_t block = std::min(bytes.size(), kBlockBytes);
    append_block(bytes.first(block), out);
    bytes = bytes.subspan(block);
  }
  return out;
}

}  // namespace

const Codec& lz4_codec() noexcept {
  static constexpr Codec codec{.filter = 32004,
                               .name = "lz4",
                               .package = "liblz4-dev",
                               .is_built = true,
                               .decompress = decompress,
                               .compress = compress};
  return codec;
}

}  // namespace bunchtrain::data
