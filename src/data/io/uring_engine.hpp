// SPDX-License-Identifier: Apache-2.0
#pragma once
/// io_uring: many reads of a thread under way at once, past the page cache where the file system allows it.

#include <atomic>

#include "engine.hpp"

namespace bunchtrain::data::io {

/// Each thread has a ring of its own with 8 MiB of aligned memory, registered with the kernel, so that no more bytes
/// than these are on their way. Reads are cut into aligned supersets of at most 256 KiB and copied from there. What
/// fails or comes short is read again by pread, whose messages and repetitions are those of every file.
const Engine& uring_engine();

/// For tests: what the system is said to refuse.
struct UringFaults {
  std::atomic<int> set_up = 0;       ///< an errno: a ring cannot be made
  std::atomic<bool> direct = false;  ///< reads past the page cache give EINVAL
};
UringFaults& uring_faults() noexcept;

}  // namespace bunchtrain::data::io
