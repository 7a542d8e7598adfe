// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Turns CUDA return codes into exceptions. Only for sources of the CUDA half.

#include <cuda_runtime_api.h>

#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::device {

/// @param doing what was attempted, for the message: "copy a batch to the GPU".
/// @throws DeviceError if `status` is not cudaSuccess.
inline void check_cuda(cudaError_t status, std::string_view doing,
                       std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  std::string text("cannot ");
  text.append(doing).append(": ").append(cudaGetErrorString(status));
  text.append(" (").append(cudaGetErrorName(status)).append(")");
  throw DeviceError(std::move(text), where);
}

}  // namespace bunchtrain::device
