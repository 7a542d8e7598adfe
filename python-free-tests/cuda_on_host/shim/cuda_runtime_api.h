// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stands in for CUDA's header of this name when kernels are compiled for the host: types only.

#include "runtime/host_cuda.hpp"

using cudaStream_t = struct HostStream*;
using dim3 = bunchtrain::host_cuda::Dim3;
using uint3 = bunchtrain::host_cuda::Dim3;
