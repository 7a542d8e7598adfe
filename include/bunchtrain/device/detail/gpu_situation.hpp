// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What this build and this machine offer in GPUs, apart from the decision what to use (so
/// that both can be tested).

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/precision.hpp"

namespace bunchtrain::device {

/// The oldest cards that the CUDA half is compiled for: Turing.
inline constexpr int kOldestComputeCapability = 75;

struct Gpu {
  std::string name;            ///< "NVIDIA H200"
  int compute_capability = 0;  ///< 90 for 9.0
};

/// The GPUs of a machine as one process sees them.
struct GpuSituation {
  bool built_with_cuda = false;
  bool driver_files = false;   ///< the kernel driver is loaded: /dev/nvidia0 or /proc/driver/nvidia exists
  int driver_version = 0;      ///< newest CUDA that the driver serves, 13000 for 13.0; 0 = no driver
  int runtime_version = 0;     ///< CUDA that this build was compiled with; 0 = none
  std::vector<Gpu> gpus = {};  ///< visible ones
  std::string problem = {};    ///< what the CUDA runtime said, if it could not list the GPUs
};

/// Looks at this machine. Initialises no GPU context.
GpuSituation observe_gpus();

struct DeviceChoice {
  c10::Device device;
  std::string notice;  ///< a warning for the user, or empty
};

/// Pure: what `choose_device` does in a given situation. @throws as `choose_device`
DeviceChoice judge_device(DeviceRequest request, int local_rank, const GpuSituation& situation);

/// Pure: why a precision cannot be used on that device, with what can; empty if it can. Other GPUs of the
/// machine do not matter.
std::string why_unsupported(Precision precision, c10::Device device, const GpuSituation& situation);

/// Pure: as `automatic_precision(device)`.
Precision automatic_precision(c10::Device device, const GpuSituation& situation);

/// "NVIDIA H200, 139 GiB, driver for CUDA 13.0". @throws NotBuiltError in a CPU build
std::string describe_gpu(int index);
/// @throws NotBuiltError in a CPU build
DeviceMemory observe_gpu_memory(int index);

}  // namespace bunchtrain::device
