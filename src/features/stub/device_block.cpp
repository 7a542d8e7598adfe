// SPDX-License-Identifier: Apache-2.0
#include "jets/device_block.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features::detail {

bool write_device_block(const Card&, const CompiledCard&, const DeviceColumns&, RawColumns&,
                        std::span<const std::int64_t>, FeatureBlock&) {
  throw NotBuiltError("decoding samples on a GPU", "BUNCHTRAIN_CUDA");
}

}  // namespace bunchtrain::features::detail
