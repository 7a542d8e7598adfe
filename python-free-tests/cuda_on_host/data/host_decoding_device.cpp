// SPDX-License-Identifier: Apache-2.0
#include "host_decoding_device.hpp"

#include "loader/decoding_device.hpp"

namespace bunchtrain::data {

HostDecodingDevice& host_decoding_device() {
  static auto* device = new HostDecodingDevice;
  return *device;
}

std::string why_no_decoding_on(c10::Device) { return {}; }

io::SlabMemory& device_slab_memory(c10::Device) { return host_decoding_device().memory; }

const io::Engine* direct_engine(c10::Device, const ByteSource& source) {
  const io::Engine* engine = host_decoding_device().direct;
  return engine != nullptr && engine->why_not(source).empty() ? engine : nullptr;
}

}  // namespace bunchtrain::data
