// SPDX-License-Identifier: Apache-2.0
#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {

const Codec& zstd_codec() noexcept {
  static constexpr Codec codec{.filter = 32015,
                               .name = "zstd",
                               .package = "libzstd-dev",
                               .is_built = false,
                               .decompress = nullptr,
                               .compress = nullptr};
  return codec;
}

}  // namespace bunchtrain::data
