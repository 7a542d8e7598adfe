// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What decoding on a device needs of the machine. Implemented in cuda/ and in stub/; tests have their own.

#include <c10/core/Device.h>

#include <string>

#include "bunchtrain/data/read_plan.hpp"
#include "io/engine.hpp"
#include "io/slab_memory.hpp"

namespace bunchtrain::data {

/// Why kernels cannot decode there; empty if they can.
std::string why_no_decoding_on(c10::Device device);
/// Memory of the device, not of LibTorch's: libraries may register it. Lives as long as the process.
io::SlabMemory& device_slab_memory(c10::Device device);
/// The engine that reads `source` straight into that memory; null: the host reads it.
const io::Engine* direct_engine(c10::Device device, const ByteSource& source);

}  // namespace bunchtrain::data
