// SPDX-License-Identifier: Apache-2.0
#include "hdf5_library.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "foreign_file.hpp"
#include "open_files.hpp"

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

herr_t keep_errno(unsigned, const H5E_error2_t* error, void* code) {
  constexpr std::string_view kMarker = "errno = ";
  const std::string_view text = error->desc == nullptr ? "" : error->desc;
  if (const auto at = text.find(kMarker); at != std::string_view::npos)
    *static_cast<int*>(code) = std::atoi(text.data() + at + kMarker.size());
  return 0;
}

// "..., errno = 28, error message = 'No space left on device', buf = 0x..." is more
// than a user wants to read.
std::string plain(std::string reason) {
  constexpr std::string_view kMarker = "error message = '";
  const auto begin = reason.find(kMarker);
  if (begin == std::string::npos) return reason;
  const auto end = reason.find('\'', begin + kMarker.size());
  return reason.substr(begin + kMarker.size(), end - begin - kMarker.size());
}

PropertyList without_locks(const std::string& what) {
  PropertyList access(check(H5Pcreate(H5P_FILE_ACCESS), what));
#if H5_VERSION_GE(1, 10, 7)
  check(H5Pset_file_locking(access.get(), false, true), what);
#endif
  return access;
}

[[noreturn]] void refuse_foreign(const std::string& path) {
  if (const auto known = explain_foreign_file(path); !known.empty())
    throw DataError(fmt::format("{}: not an HDF5 file but {}", path, known));
  std::error_code error;
  throw DataError(fmt::format("{}: not an HDF5 file ({} bytes); is the download complete?", path,
                              std::filesystem::file_size(path, error)));
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

int last_errno() {
  int code = 0;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_errno, &code);
  return code;
}

void fail(std::string_view what) {
  const int code = last_errno();
  throw_system_fault<DataError>(fmt::format("{}: {}{}", what, last_reason(), mend_of(code)), code);
}

File open_read_only(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found)
    throw DataError(fmt::format("{}: no such file; check the path", path));
  if (error)
    throw_system_fault<DataError>(fmt::format("{}: cannot be opened: {}", path, error.message()),
                                  error.value());
  // Before anything opens it: opening a pipe waits for a writer.
  if (const auto special = explain_special_file(path); !special.empty())
    throw DataError(fmt::format("{}: is {}", path, special));
  const LibraryLock lock;
  const htri_t is_hdf5 = try_again([&] { return H5Fis_hdf5(path.c_str()); }, last_errno);
  if (is_hdf5 < 0) fail(path + ": cannot be read");
  if (is_hdf5 == 0) refuse_foreign(path);
  const PropertyList access = without_locks(path);
  const hid_t file = try_again(
      [&] {
        const hid_t opened = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
        if (opened >= 0 || last_errno() != 0) return opened;
        // A file that the application has open already can only be opened as it did.
        return H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
      },
      last_errno);
  if (file >= 0) return File(file);
  if (last_errno() != 0) fail(path + ": cannot be opened");
  throw DataError(fmt::format(
      "{}: cannot be opened as HDF5: {}; a truncated copy has to be fetched again, a file that is "
      "still being written has to be closed first",
      path, last_reason()));
}

PropertyList read_only_access() {
  const LibraryLock lock;
  const std::string what = "preparing to open datasets";
  PropertyList access(check(H5Pcreate(H5P_DATASET_ACCESS), what));
  check(H5Pset_elink_fapl(access.get(), without_locks(what).get()), what);
  return access;
}

void allow_plugins(bool allow) {
  const LibraryLock lock;
  check(H5PLset_loading_state(allow ? H5PL_ALL_PLUGIN : 0), "choosing whether HDF5 plug-ins may load");
}

}  // namespace bunchtrain::hdf5
