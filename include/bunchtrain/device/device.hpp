// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which device a rank computes on.

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bunchtrain/core/logger.hpp"

namespace bunchtrain::device {

/// What the user asked for. `automatic`: a GPU if this build and this machine have one, else the CPU.
enum class DeviceRequest { automatic, cpu, cuda };

/// "auto", "cpu" or "cuda". @throws ConfigError with the names allowed.
DeviceRequest parse_device(std::string_view text);
std::string_view to_string(DeviceRequest request) noexcept;

/// The device of the `local_rank`-th rank on this node.
///
/// `cuda` never falls back: @throws NotBuiltError if this build has no CUDA, DeviceError if there is no GPU,
/// the driver is too old or the card too old (required and found are named). `automatic` on a CPU build that
/// sees a GPU logs which command rebuilds with CUDA.
c10::Device choose_device(DeviceRequest request, int local_rank, const Logger& logger = {});

/// Makes a GPU the current one of this thread, so that `torch::kCUDA` without an index and code that asks for
/// the current device mean it. A CPU changes nothing.
void make_current(c10::Device device);

/// Lets cuDNN time its algorithms for each shape that it meets and keep the fastest (benchmark mode, for the
/// whole process): for programs whose shapes come again. Two runs may then round convolutions differently. A
/// CPU changes nothing.
void prefer_fast_convolutions(c10::Device device);

struct DeviceMemory {
  std::int64_t free_bytes, total_bytes;
};
/// Of a GPU at this moment, as the driver counts it; nothing for the CPU. @throws DeviceError
std::optional<DeviceMemory> observe_memory(c10::Device device);

/// One line for logs and run.json: processor model or GPU name, memory, driver.
std::string describe(c10::Device device);

}  // namespace bunchtrain::device
