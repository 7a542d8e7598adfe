// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/current_stream.hpp"

#include <c10/cuda/CUDAStream.h>

namespace bunchtrain::device {

void* current_stream(c10::Device device) {
  return device.is_cuda() ? c10::cuda::getCurrentCUDAStream(device.index()).stream() : nullptr;
}

}  // namespace bunchtrain::device
