// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The host in the place of a GPU: kernels are run by the emulator, "device" memory is that of the host.

#include <atomic>

#include "io/engine.hpp"
#include "unit/data/counted_slabs.hpp"

namespace bunchtrain::data {

/// What decoding finds; tests set it.
struct HostDecodingDevice {
  CountedSlabs memory;
  std::atomic<const io::Engine*> direct = nullptr;  ///< reads files straight into slabs
};
HostDecodingDevice& host_decoding_device();

}  // namespace bunchtrain::data
