// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The stream on which LibTorch computes at present, for kernels of ours.

#include <c10/core/Device.h>

namespace bunchtrain::device {

/// LibTorch's current stream of `device` as a `cudaStream_t`; nullptr for the CPU.
/// @throws NotBuiltError for a GPU in a build without CUDA.
void* current_stream(c10::Device device);

}  // namespace bunchtrain::device
