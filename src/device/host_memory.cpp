// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/host_memory.hpp"

#include <malloc.h>

#include <limits>

namespace bunchtrain::device {

void keep_freed_memory() noexcept {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);  // a threshold cannot be set above 32 MiB, and tensors are larger
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace bunchtrain::device
