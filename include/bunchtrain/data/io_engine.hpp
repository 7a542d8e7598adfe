// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which engine fetches the bytes of data files.

#include <string_view>

namespace bunchtrain::data {

/// Order and values of samples are the same with each; they differ in speed alone.
enum class IoEngine {
  automatic,  ///< io_uring past the page cache where the files are too large for it, else pread
  pread,      ///< by the reading threads, one request each at a time
  io_uring,   ///< many requests of a thread at once; past the page cache where the file system allows it
  cufile,     ///< GPUDirect Storage (libcufile.so.0), by its name alone: `automatic` never takes it
  hdf5,       ///< H5Dread for everything, one thread at a time: to compare with, or where in doubt
};

/// "auto", "pread", "io_uring", "cufile", "hdf5".
std::string_view to_string(IoEngine engine) noexcept;
/// @throws ConfigError naming the engines.
IoEngine parse_io_engine(std::string_view text);

}  // namespace bunchtrain::data
