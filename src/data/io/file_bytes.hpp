// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A file read by offset, without HDF5 and without its lock.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bunchtrain/data/read_plan.hpp"
#include "file_stamp.hpp"

namespace bunchtrain::data {

/// An open file. Immutable.
class FileDescriptor;

/// A file that is read. Immutable, thread-safe.
///
/// Its descriptor is open from the beginning on. Where more files are read than a process may have open,
/// those not read for long are closed and opened again when they are needed.
class FileBytes final : public ByteSource {
 public:
  /// @throws DataError with the system's reason: not there, no right to read it, no regular file.
  /// @throws IoError if the storage system is in trouble, after three more tries.
  /// @param engine that fetches it where plans are fetched; null: the first that can
  explicit FileBytes(std::string path, const io::Engine* engine = nullptr);
  ~FileBytes() override;
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  const std::string& path() const noexcept override { return path_; }
  std::uint64_t size() const noexcept { return watch_.opened().bytes; }
  /// As it was when it was opened.
  const FileStamp& stamp() const noexcept { return watch_.opened(); }
  /// Fills `out` from `offset` on. @throws DataError if the file ends before or has been replaced. @throws
  /// IoError with the offset if it cannot be read, after three more tries.
  void read(std::uint64_t offset, std::span<std::byte> out) const override;
  /// Lets the system bring these bytes into the page cache meanwhile.
  void expect(std::uint64_t offset, std::uint64_t bytes) const noexcept;
  bool is_file() const noexcept override { return true; }
  const io::Engine* engine() const noexcept override { return engine_; }
  void require_unchanged(Look look) const override;

  /// Open for as long as it is held. @throws as `read`
  std::shared_ptr<const FileDescriptor> descriptor() const;
  /// The same past the page cache (O_DIRECT), which wants offsets, sizes and memory in multiples of 4096 bytes; null
  /// if the file system has refused it.
  std::shared_ptr<const FileDescriptor> direct_descriptor() const;
  /// From now on there is no direct one. A read has shown that it does not work.
  void refuse_direct() const noexcept { direct_refused_.store(true, std::memory_order_relaxed); }
  bool direct_refused() const noexcept { return direct_refused_.load(std::memory_order_relaxed); }
  /// How it is read, for messages: "pread", "io_uring", "io_uring through the page cache".
  std::string way() const;

 private:
  class Pool;
  std::shared_ptr<const FileDescriptor> open(bool direct) const;
  FileStamp open_first();

  std::string path_;
  const io::Engine* engine_ = nullptr;
  mutable std::atomic<bool> direct_refused_ = false;
  FileWatch watch_;
};

/// Closes what it owns.
class FileDescriptor {
 public:
  explicit FileDescriptor(int number) noexcept : number_(number) {}
  ~FileDescriptor();
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int number() const noexcept { return number_; }

 private:
  int number_;
};

}  // namespace bunchtrain::data
