// SPDX-License-Identifier: Apache-2.0
#include <blosc.h>

#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {
namespace {

// One buffer with its own header, by which the library checks itself; it starts no threads of its own.
std::optional<std::size_t> decompress(std::span<const std::byte> stored, std::span<std::byte> out) {
  std::size_t bytes = 0;
  if (stored.size() < BLOSC_MIN_HEADER_LENGTH ||
      blosc_cbuffer_validate(stored.data(), stored.size(), &bytes) < 0 || bytes > out.size())
    return std::nullopt;
  const int written = blosc_decompress_ctx(stored.data(), out.data(), bytes, 1);
  if (written < 0 || static_cast<std::size_t>(written) != bytes) return std::nullopt;
  return bytes;
}

}  // namespace

const Codec& blosc_codec() noexcept {
  static constexpr Codec codec{.filter = 32001,
                               .name = "blosc",
                               .package = "libblosc-dev",
                               .is_built = true,
                               .decompress = decompress,
                               .compress = nullptr};
  return codec;
}

}  // namespace bunchtrain::data
