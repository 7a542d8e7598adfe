// SPDX-License-Identifier: Apache-2.0
#include "codec.hpp"

namespace bunchtrain::data {

const Codec* find_codec(int filter) noexcept {
  for (const Codec* codec : {&zstd_codec(), &lz4_codec(), &blosc_codec()})
    if (codec->filter == filter) return codec;
  return nullptr;
}

}  // namespace bunchtrain::data
