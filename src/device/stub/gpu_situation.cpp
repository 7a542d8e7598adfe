// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/gpu_situation.hpp"

#include "bunchtrain/core/error.hpp"
#include "driver_files.hpp"

namespace bunchtrain::device {

GpuSituation observe_gpus() {
  return {.built_with_cuda = false, .driver_files = nvidia_driver_files_exist()};
}

void make_current(c10::Device /*device*/) {}

std::string describe_gpu(int /*index*/) { throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON"); }

DeviceMemory observe_gpu_memory(int /*index*/) { throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON"); }

}  // namespace bunchtrain::device
