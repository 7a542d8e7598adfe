// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Owners of HDF5 identifiers, the lock around the library, and its return codes as exceptions.

#include <hdf5.h>

#include <mutex>
#include <string>
#include <string_view>

#include "bunchtrain/core/detail/unique_handle.hpp"

namespace bunchtrain::hdf5 {

template <herr_t (*Close)(hid_t)>
struct IdTraits {
  using Handle = hid_t;
  static Handle null() noexcept { return H5I_INVALID_HID; }
  static void close(Handle handle) noexcept { Close(handle); }
};
using File = UniqueHandle<IdTraits<H5Fclose>>;
using Dataset = UniqueHandle<IdTraits<H5Dclose>>;
using Dataspace = UniqueHandle<IdTraits<H5Sclose>>;
using Datatype = UniqueHandle<IdTraits<H5Tclose>>;
using PropertyList = UniqueHandle<IdTraits<H5Pclose>>;
using Attribute = UniqueHandle<IdTraits<H5Aclose>>;
using Object = UniqueHandle<IdTraits<H5Oclose>>;

/// Every call into HDF5 happens while one of these lives: the library may be built without its own lock, and
/// with it would serialise anyway. Keeps HDF5 from printing its error stack and restores the application's
/// setting. May be nested.
class LibraryLock {
 public:
  LibraryLock();
  ~LibraryLock();
  LibraryLock(const LibraryLock&) = delete;
  LibraryLock& operator=(const LibraryLock&) = delete;

 private:
  std::unique_lock<std::recursive_mutex> lock_;
  H5E_auto2_t printer_ = nullptr;
  void* printer_data_ = nullptr;
};

/// The innermost reason of the last failed call ("No space left on device"), or HDF5's own words.
std::string last_reason();
/// The errno behind the last failed call, 0 if HDF5 tells none.
int last_errno();
/// @throws IoError if the storage system is in trouble, else DataError: "WHAT: REASON"
[[noreturn]] void fail(std::string_view what);

/// Passes a return code or identifier through. @throws as `fail` if it says failure.
template <class T>
T check(T result, std::string_view what) {
  if (result < 0) fail(what);
  return result;
}

/// Opens for reading with file locking off: locks are the commonest failure on shared
/// filesystems, and we never write.
/// @throws DataError: not there, a folder or pipe, not HDF5 (what it is and how to convert it), truncated,
/// still open for writing. @throws IoError: see `fail`; only after three more tries.
File open_read_only(const std::string& path);
/// How datasets are opened: files behind external links as `open_read_only` opens them.
PropertyList read_only_access();

/// Whether filter plug-ins (code from shared libraries that a file names) may be loaded; off
/// until somebody allows it.
void allow_plugins(bool allow);

}  // namespace bunchtrain::hdf5
