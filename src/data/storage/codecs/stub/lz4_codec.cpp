// SPDX-License-Identifier: Apache-2.0
#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {

const Codec& lz4_codec() noexcept {
  static constexpr Codec codec{.filter = 32004,
                               .name = "lz4",
                               .package = "liblz4-dev",
                               .is_built = false,
                               .decompress = nullptr,
                               .compress = nullptr};
  return codec;
}

}  // namespace bunchtrain::data
