// SPDX-License-Identifier: Apache-2.0
#pragma once
/// ExactFloat among the storage types of kernels (device/detail/storage.cuh).

#include "bunchtrain/device/detail/storage.cuh"
#include "edge_conv/exact_float.hpp"

namespace bunchtrain::device {

__device__ inline float widened(ExactFloat x) { return x.value; }
__device__ inline void narrow(float value, ExactFloat& x) { x.value = value; }

}  // namespace bunchtrain::device
