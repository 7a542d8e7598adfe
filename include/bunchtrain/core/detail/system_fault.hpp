// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sorts the refusals of the system: those that may pass by themselves, and those that somebody has to mend.

#include <source_location>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {

/// Whether what `code` (an errno) stands for may be gone at the next attempt: a full disk or quota, an I/O
/// error, a stale handle, a file system that went read-only, too many open files. Not a missing file or a
/// lack of rights.
bool may_pass(int code) noexcept;

/// @throws IoError with `code` if it may pass, else `Otherwise`.
template <class Otherwise>
[[noreturn]] void throw_system_fault(std::string message, int code,
                                     std::source_location where = std::source_location::current()) {
  if (may_pass(code)) throw IoError(std::move(message), code, where);
  throw Otherwise(std::move(message), where);
}

}  // namespace bunchtrain
