// SPDX-License-Identifier: Apache-2.0
#include <zstd.h>

#include <memory>

#include "bunchtrain/core/error.hpp"
#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {
namespace {

struct ContextCloser {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

// HDF5 stores one zstd frame, or several behind each other.
std::optional<std::size_t> decompress(std::span<const std::byte> stored, std::span<std::byte> out) {
  thread_local const std::unique_ptr<ZSTD_DCtx, ContextCloser> context(ZSTD_createDCtx());
  const std::size_t written =
      ZSTD_decompressDCtx(context.get(), out.data(), out.size(), stored.data(), stored.size());
  if (ZSTD_isError(written) != 0) return std::nullopt;
  return written;
}

std::vector<std::byte> compress(std::span<const std::byte> bytes) {
  std::vector<std::byte> stored(ZSTD_compressBound(bytes.size()));
  const std::size_t written =
      ZSTD_compress(stored.data(), stored.size(), bytes.data(), bytes.size(), ZSTD_CLEVEL_DEFAULT);
  if (ZSTD_isError(written) != 0)
    throw DataError("zstd cannot compress: " + std::string(ZSTD_getErrorName(written)));
  stored.resize(written);
  return stored;
}

}  // namespace

const Codec& zstd_codec() noexcept {
  static constexpr Codec codec{.filter = 32015,
                               .name = "zstd",
                               .package = "libzstd-dev",
                               .is_built = true,
                               .decompress = decompress,
                               .compress = compress};
  return codec;
}

}  // namespace bunchtrain::data
