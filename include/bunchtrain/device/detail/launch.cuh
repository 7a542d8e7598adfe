// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The one way in which kernels are started. The host runtime of the tests replaces this file.

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace bunchtrain::device {

/// @throws DeviceError if `status` is not cudaSuccess. Not inline: nvcc 13.0 fails on
/// the header of the errors.
void check_launch(cudaError_t status);

struct LaunchConfig {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  ///< dynamic shared memory
  bool large_shared = false;     ///< more than 48 KB together with the static: the kernel is told beforehand
};

/// Starts `kernel` on `stream`; arguments convert to the kernel's parameter types. An empty grid starts
/// nothing. Asynchronous: what the kernel reads must live until the stream is past it.
/// @throws DeviceError if the launch is refused (too many threads, too much shared
/// memory, no code for this GPU).
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, cudaStream_t stream,
            Arguments&&... arguments) {
  if (config.grid.x == 0 || config.grid.y == 0 || config.grid.z == 0) return;
  if (config.large_shared)
    check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(config.shared_bytes)));
  cudaLaunchConfig_t launch_config{};
  launch_config.gridDim = config.grid;
  launch_config.blockDim = config.block;
  launch_config.dynamicSmemBytes = config.shared_bytes;
  launch_config.stream = stream;
  check_launch(cudaLaunchKernelEx(&launch_config, kernel, std::forward<Arguments>(arguments)...));
}

/// Blocks needed for `items` at `per_block` items each.
constexpr unsigned blocks_for(std::size_t items, std::size_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

/// Dynamic shared memory of the block, 16-byte aligned: kernels call this instead of declaring an extern
/// array, which the host cannot compile.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}

}  // namespace bunchtrain::device
