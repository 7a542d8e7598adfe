// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/gpu_situation.hpp"

#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include "bunchtrain/device/detail/cuda_check.cuh"
#include "driver_files.hpp"

namespace bunchtrain::device {

namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Gpu observe_gpu(int index) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index),
             "read the properties of GPU " + std::to_string(index));
  return {properties.name, properties.major * 10 + properties.minor};
}

}  // namespace

GpuSituation observe_gpus() {
  GpuSituation situation{.built_with_cuda = true, .driver_files = nvidia_driver_files_exist()};
  check_cuda(cudaRuntimeGetVersion(&situation.runtime_version), "read the version of the CUDA runtime");
  // Without a driver this succeeds and reports version 0.
  check_cuda(cudaDriverGetVersion(&situation.driver_version), "read the version of the CUDA driver");
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    situation.problem = cudaGetErrorString(status);
    static_cast<void>(cudaGetLastError());  // or a later, unrelated check would report it
    return situation;
  }
  for (int index = 0; index < count; ++index) situation.gpus.push_back(observe_gpu(index));
  return situation;
}

void make_current(c10::Device device) {
  if (device.is_cuda()) c10::cuda::set_device(device.index());
}

DeviceMemory observe_gpu_memory(int index) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
  std::size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "read the memory of GPU " + std::to_string(index));
  return {static_cast<std::int64_t>(free), static_cast<std::int64_t>(total)};
}

std::string describe_gpu(int index) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index),
             "read the properties of GPU " + std::to_string(index));
  int driver = 0;
  check_cuda(cudaDriverGetVersion(&driver), "read the version of the CUDA driver");
  return std::string(properties.name) + ", " + std::to_string(properties.totalGlobalMem >> 30) +
         " GiB, driver for CUDA " + version_text(driver);
}

}  // namespace bunchtrain::device
