// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Why a name in a file cannot be opened, and what to do.

#include <hdf5.h>

#include <string>

namespace bunchtrain::data {

/// "soft link to '/x', which is not there", "bad version number for layout message; ... rewrite it: ...":
/// after a failed attempt to open `name`. The caller holds a LibraryLock.
std::string explain_unreadable(hid_t file, const std::string& name);

/// @throws DataError "WHERE: cannot be opened: WHY"; IoError if the storage system is in trouble.
[[noreturn]] void refuse_object(hid_t file, const std::string& name, const std::string& where);

/// A line that rewrites a file which a newer HDF5 has written, so that 1.10 reads it.
std::string rewriting_line(const std::string& path);

}  // namespace bunchtrain::data
