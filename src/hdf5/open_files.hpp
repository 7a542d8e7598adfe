// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Room for open files, and calls tried again while storage is in trouble.

#include <cstddef>
#include <string_view>

namespace bunchtrain::hdf5 {

/// Raises the soft limit on open files (`ulimit -n`), at most to the hard one, so that `count` files can be
/// open beside what a program needs for itself. A limit that is enough stays as it is. Thread-safe.
/// @return whether there is room
bool allow_open_files(std::size_t count);
/// For when the limit is met: the hard one from now on. @return false if it was that already
bool raise_open_file_limit();

/// Files that may stay open to be read: what the soft limit leaves beside a program's own ones. Never less than 8.
std::size_t room_for_files();

/// A pause before the `attempt`-th repetition (from 0) of what failed with `code`; false: not to be repeated.
bool prepare_repetition(int attempt, int code);

/// Calls `call` again, up to three times, while it fails (gives a negative number) with a code that may pass
/// or with a limit on open files that could be raised. @param code the errno of the last failure
template <class Call, class Code>
auto try_again(const Call& call, const Code& code) {
  for (int attempt = 0;; ++attempt) {
    const auto result = call();
    if (result >= 0 || !prepare_repetition(attempt, code())) return result;
  }
}

/// "; allow more open files with `ulimit -n`" where that is the way out, else nothing.
std::string_view mend_of(int code) noexcept;

}  // namespace bunchtrain::hdf5
