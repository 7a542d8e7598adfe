// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stands in for the product's header of this name. Shared memory holds NaN from the start of a copy to the
/// thread's wait for it; only then the source is read.

#include <cuda_runtime.h>

namespace bunchtrain::device {

template <int kBytes>
void copy_async(void* shared, const void* global, bool in_range = true,
                std::source_location where = std::source_location::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  host_cuda::start_copy({shared, in_range ? global : nullptr, kBytes, where});
}

inline void commit_copies() { host_cuda::commit_copies(); }

template <int kGroupsLeft>
void wait_for_copies() {
  host_cuda::wait_for_copies(kGroupsLeft);
}

}  // namespace bunchtrain::device
