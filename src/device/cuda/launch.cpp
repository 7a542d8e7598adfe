// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/launch.cuh"
#include "bunchtrain/device/cuda_check.cuh"

namespace bunchtrain::device {

void check_launch(cudaError_t status) { check_cuda(status, "start a GPU kernel"); }

}  // namespace bunchtrain::device
