// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What tells that a file is still the one that was opened.

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {

/// A file that is read is no longer what it was when it was opened: what has been read of it belongs to two files.
class SourceChangedError : public DataError {
 public:
  using DataError::DataError;
};

/// Of one file at one time.
struct FileStamp {
  std::uint64_t device = 0, inode = 0, bytes = 0;
  std::int64_t modified_ns = 0;  ///< since 1970

  static FileStamp of(const struct stat& status) noexcept;
  bool operator==(const FileStamp&) const = default;
};

/// A file that has to stay as it was when it was opened. Thread-safe.
class FileWatch {
 public:
  /// @param opened as the file was then
  FileWatch(std::string path, const FileStamp& opened) : path_(std::move(path)), opened_(opened) {}
  /// Of the file that has this name now; one that cannot be asked for is taken to be there when it is read.
  explicit FileWatch(std::string path);
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  const std::string& path() const noexcept { return path_; }
  const FileStamp& opened() const noexcept { return opened_; }
  /// @throws SourceChangedError unless `now` is the stamp of the same file, unchanged
  void require_same(const FileStamp& now) const;
  /// The same for what has the name now. A name that is gone is no change: the file may still be read.
  void look() const;
  /// `look`, unless somebody has done so within the last quarter of a second.
  void look_now_and_then() const;

 private:
  std::string path_;
  FileStamp opened_;
  mutable std::atomic<std::int64_t> next_look_ns_ = 0;
};

}  // namespace bunchtrain::data
