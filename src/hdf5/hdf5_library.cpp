// SPDX-License-Identifier: Apache-2.0
#include "hdf5_library.hpp"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <system_error>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::hdf5 {
namespace {

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr && *error->desc != '\0') *static_cast<std::string*>(text) = error->desc;
  return 0;
}

// "..., errno = 28, error message = 'No space left on device', buf = 0x..." is more than a user wants to
// read.
std::string plain(std::string reason) {
  constexpr std::string_view marker = "error message = '";
  const auto begin = reason.find(marker);
  if (begin == std::string::npos) return reason;
  const auto end = reason.find('\'', begin + marker.size());
  return reason.substr(begin + marker.size(), end - begin - marker.size());
}

}  // namespace

LibraryLock::LibraryLock() : lock_(library_mutex()) {
  // HDF5's clean-up at exit crashes on a file that could not be closed because the disk was full. Ours are
  // closed by then. Has no effect where the application has begun to use HDF5 before us.
  [[maybe_unused]] static const herr_t without_cleanup = H5dont_atexit();
  H5Eget_auto2(H5E_DEFAULT, &printer_, &printer_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

LibraryLock::~LibraryLock() { H5Eset_auto2(H5E_DEFAULT, printer_, printer_data_); }

std::string last_reason() {
  std::string reason = "HDF5 gives no reason";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, &reason);
  return plain(std::move(reason));
}

void fail(std::string_view what) { throw DataError(fmt::format("{}: {}", what, last_reason())); }

File open_read_only(const std::string& path) {
  const LibraryLock lock;
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status))
    throw DataError(fmt::format("{}: no such file; check the path", path));
  if (std::filesystem::is_directory(status))
    throw DataError(fmt::format("{}: is a folder; name its files, for example '{}/*.h5'", path, path));
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (is_hdf5 < 0) throw DataError(fmt::format("{}: cannot be read: {}", path, last_reason()));
  if (is_hdf5 == 0)
    throw DataError(fmt::format("{}: not an HDF5 file ({} bytes); is the download complete?", path,
                                std::filesystem::file_size(path, error)));

  const PropertyList access(check(H5Pcreate(H5P_FILE_ACCESS), path));
#if H5_VERSION_GE(1, 10, 7)
  check(H5Pset_file_locking(access.get(), false, true), path);
#endif
  hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  // A file that the application has open already can only be opened as it did.
  if (file < 0) file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0)
    throw DataError(fmt::format(
        "{}: cannot be opened as HDF5: {}; a truncated copy has to be fetched again, a file that is "
        "still being written has to be closed first",
        path, last_reason()));
  return File(file);
}

void allow_plugins(bool allow) {
  const LibraryLock lock;
  check(H5PLset_loading_state(allow ? H5PL_ALL_PLUGIN : 0), "choosing whether HDF5 plug-ins may load");
}

}  // namespace bunchtrain::hdf5
