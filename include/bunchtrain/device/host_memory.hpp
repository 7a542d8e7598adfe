// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the process treats memory that tensors give back.

namespace bunchtrain::device {

/// Keeps freed host memory in the process instead of returning it to the system: a training step allocates
/// the same large tensors again and again, and every return costs page faults. Only applications (`bt::run`)
/// call this, once, at the start; it changes malloc for the whole process. Without glibc it does nothing.
void keep_freed_memory() noexcept;

}  // namespace bunchtrain::device
