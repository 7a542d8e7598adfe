// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The few calls of cuFile that are used, found in its shared library.

#include <sys/types.h>

#include <cstddef>
#include <string>

namespace bunchtrain::data::io::cufile {

/// As the library returns it: 0, or a number from 5001 on, and CUDA's own.
struct Status {
  int code = 0;
  int cuda = 0;
};
using Handle = void*;
/// Of a file; zeroed where nothing is said.
struct Description {
  int type = 1;  ///< a descriptor of the system
  union {
    int descriptor;
    void* other;
  } file = {};
  const void* operations = nullptr;
};

/// Symbols by their names. Never closed: what is registered may live as long as the process.
struct Library {
  Status (*driver_open)() = nullptr;
  Status (*handle_register)(Handle*, Description*) = nullptr;
  void (*handle_deregister)(Handle) = nullptr;
  Status (*buffer_register)(const void*, std::size_t, int) = nullptr;
  Status (*buffer_deregister)(const void*) = nullptr;
  ssize_t (*read)(Handle, void*, std::size_t, off_t file_offset, off_t buffer_offset) = nullptr;

  /// Opens the library and its driver. @return why it cannot be used; empty if it can
  std::string open(const std::string& name);
};

/// "cuFile error 5008 (not for this file)".
std::string describe(Status status);

}  // namespace bunchtrain::data::io::cufile
