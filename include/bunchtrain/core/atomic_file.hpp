// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Files that appear whole or not at all: written beside their place, synchronised, then renamed.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace bunchtrain {

/// A file under construction. Until `commit()` nothing is visible under `path`; without a commit the
/// temporary is removed.
///
/// Every write error (full disk, read-only folder) throws at once. Not thread-safe.
class AtomicFile {
 public:
  /// Opens `path` + ".partial-PID". @throws CheckpointError if the folder is missing or not writable, naming
  /// it.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// fsync, rename to `path`, fsync of the folder.
  void commit();
  const std::filesystem::path& path() const noexcept { return path_; }
  /// Where the bytes are until the commit, for libraries that write files themselves.
  const std::filesystem::path& temporary_path() const noexcept { return temporary_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// Writes `text` to `path` atomically.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// The whole file as text. @throws DataError naming the path if it cannot be read.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace bunchtrain
