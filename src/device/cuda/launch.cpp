// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/device/detail/cuda_check.cuh"

namespace bunchtrain::device {

void check_launch(cudaError_t status) { check_cuda(status, "start a GPU kernel"); }

}  // namespace bunchtrain::device
