// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <array>
#include <string>

#include "bunchtrain/device/detail/cuda_check.cuh"
#include "bunchtrain/device/detail/memory_node.hpp"

namespace bunchtrain::device {

std::optional<int> memory_node_of_gpu(int index) {
  std::array<char, 32> bus_id{};
  check_cuda(cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), index),
             "find the bus of GPU " + std::to_string(index));
  return memory_node_of(bus_id.data());
}

}  // namespace bunchtrain::device
