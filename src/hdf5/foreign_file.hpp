// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Names files that are given as HDF5 but are something else, and how to make HDF5 of them.

#include <string>

namespace bunchtrain::hdf5 {

/// "a ROOT file; convert it: python3 -c ...", by the first bytes of a regular file that HDF5 does not know;
/// empty if they say nothing. @pre the file can be read
std::string explain_foreign_file(const std::string& path);

/// "a named pipe (FIFO)", ...; empty for a regular file, and for what is not there.
std::string explain_special_file(const std::string& path);

}  // namespace bunchtrain::hdf5
