// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A file read by offset, without HDF5 and without its lock.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "bunchtrain/core/unique_handle.hpp"

namespace bunchtrain::data {

/// An open file. Immutable, thread-safe.
class FileBytes {
 public:
  /// @throws DataError with the system's reason.
  explicit FileBytes(std::string path);

  const std::string& path() const noexcept { return path_; }
  std::uint64_t size() const noexcept { return size_; }
  /// Fills `out` from `offset` on. @throws DataError if the file ends before or cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  struct DescriptorTraits {
    using Handle = int;
    static Handle null() noexcept { return -1; }
    static void close(Handle descriptor) noexcept;
  };
  std::string path_;
  UniqueHandle<DescriptorTraits> descriptor_;
  std::uint64_t size_ = 0;
};

}  // namespace bunchtrain::data
