// SPDX-License-Identifier: Apache-2.0
#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {

const Codec& blosc_codec() noexcept {
  static constexpr Codec codec{.filter = 32001,
                               .name = "blosc",
                               .package = "libblosc-dev",
                               .is_built = false,
                               .decompress = nullptr,
                               .compress = nullptr};
  return codec;
}

}  // namespace bunchtrain::data
