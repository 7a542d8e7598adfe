// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A file read by offset, without HDF5 and without its lock.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bunchtrain/data/read_plan.hpp"

namespace bunchtrain::data {

/// A file that is read. Immutable, thread-safe.
///
/// Its descriptor is open from the beginning on. Where more files are read than a process may have open,
/// those not read for long are closed and opened again when they are needed.
class FileBytes final : public ByteSource {
 public:
  /// @throws DataError with the system's reason: not there, no right to read it, no regular file.
  /// @throws IoError if the storage system is in trouble, after three more tries.
  explicit FileBytes(std::string path);
  ~FileBytes() override;
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  const std::string& path() const noexcept override { return path_; }
  std::uint64_t size() const noexcept { return size_; }
  /// Fills `out` from `offset` on. @throws DataError if the file ends before or has been replaced. @throws
  /// IoError with the offset if it cannot be read, after three more tries.
  void read(std::uint64_t offset, std::span<std::byte> out) const override;
  bool is_file() const noexcept override { return true; }

 private:
  class Descriptor;
  class Pool;
  std::shared_ptr<const Descriptor> open() const;

  std::string path_;
  std::uint64_t size_ = 0;
  std::uint64_t device_ = 0, inode_ = 0;
};

}  // namespace bunchtrain::data
