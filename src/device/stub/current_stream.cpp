// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/current_stream.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::device {

void* current_stream(c10::Device device) {
  if (device.is_cuda()) throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON");
  return nullptr;
}

}  // namespace bunchtrain::device
