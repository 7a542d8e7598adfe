// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Copies from global to shared memory that go on while the thread does (cp.async). The host runtime of the
/// tests replaces this file.
///
/// From compute capability 8.0 on: older cards stop at them (trap).

#include <cuda_runtime.h>

namespace bunchtrain::device {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define BUNCHTRAIN_CP_ASYNC(...) __trap()
#else
#define BUNCHTRAIN_CP_ASYNC(...) asm volatile(__VA_ARGS__)
#endif

/// Starts a copy of 4, 8 or 16 bytes; both addresses are multiples of that. If not `in_range` nothing is read
/// and zeros are written. 16 bytes pass the L1 cache by. What is at `shared` may be read by this thread after
/// a wait for the copy's group, by the others of the block after a barrier behind that.
template <int kBytes>
__device__ void copy_async(void* shared, const void* global, bool in_range = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  [[maybe_unused]] const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  [[maybe_unused]] const int read = in_range ? kBytes : 0;
  if constexpr (kBytes == 16)
    BUNCHTRAIN_CP_ASYNC("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(global), "r"(read)
                        : "memory");
  else
    BUNCHTRAIN_CP_ASYNC("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(to), "l"(global), "n"(kBytes),
                        "r"(read)
                        : "memory");
}

/// Makes a group of the copies that this thread has started since the last one. It may be empty.
__device__ inline void commit_copies() { BUNCHTRAIN_CP_ASYNC("cp.async.commit_group;\n" ::: "memory"); }

/// Waits until at most the last `kGroupsLeft` groups of this thread are on their way.
template <int kGroupsLeft>
__device__ void wait_for_copies() {
  BUNCHTRAIN_CP_ASYNC("cp.async.wait_group %0;\n" ::"n"(kGroupsLeft) : "memory");
}

#undef BUNCHTRAIN_CP_ASYNC

}  // namespace bunchtrain::device
