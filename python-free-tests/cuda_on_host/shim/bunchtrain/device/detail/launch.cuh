// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stands in for the product's header of this name: `launch` runs the kernel on the host, before it returns.

#include <cuda_runtime.h>

#include <cstddef>
#include <tuple>
#include <utility>

namespace bunchtrain::device {

struct LaunchConfig {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  bool large_shared = false;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, cudaStream_t,
            Arguments&&... arguments) {
  if (config.grid.x == 0 || config.grid.y == 0 || config.grid.z == 0) return;
  const std::tuple<Parameters...> parameters(std::forward<Arguments>(arguments)...);
  host_cuda::run_grid({config.grid, config.block, config.shared_bytes,
                       config.large_shared ? host_cuda::kLargeSharedBytes : host_cuda::kPlainSharedBytes},
                      [&] { std::apply(kernel, parameters); });
}

constexpr unsigned blocks_for(std::size_t items, std::size_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

/// Dynamic shared memory of the block.
template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(host_cuda::dynamic_shared());
}

}  // namespace bunchtrain::device
