// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a program's steps are expected to need of a GPU's memory, for the message when it does not suffice.

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/device/device.hpp"

namespace bunchtrain::train {

struct MemoryNeed {
  c10::Device device = c10::kCPU;
  std::int64_t predicted_bytes = 0;  ///< of a pass, for activations; 0: not known
};

/// Remembers it for `describe_out_of_memory` and warns where less is free already. Thread-safe.
void expect_memory(const MemoryNeed& need, const Logger& logger);

/// Pure: "" or why this is likely to fail.
std::string memory_warning(const MemoryNeed& need, const std::optional<device::DeviceMemory>& memory);

/// Pure. @param library_text what LibTorch said
std::string out_of_memory_text(const MemoryNeed& need, const std::optional<device::DeviceMemory>& memory,
                               const std::string& library_text);

/// With what is expected and free at this moment. Never throws: the GPU may be what failed.
std::string describe_out_of_memory(const std::string& library_text) noexcept;

}  // namespace bunchtrain::train
