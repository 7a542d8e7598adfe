// SPDX-License-Identifier: Apache-2.0
#include "../decoding_device.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {

std::string why_no_decoding_on(c10::Device) { return "this build has no CUDA (BUNCHTRAIN_CUDA)"; }

io::SlabMemory& device_slab_memory(c10::Device) {
  throw NotBuiltError("decoding samples on a GPU", "BUNCHTRAIN_CUDA");
}

const io::Engine* direct_engine(c10::Device, const ByteSource&) { return nullptr; }

}  // namespace bunchtrain::data
