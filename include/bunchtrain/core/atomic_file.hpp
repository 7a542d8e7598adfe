// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Files that appear whole or not at all: written beside their place, synchronised, then renamed.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/core/hash.hpp"

namespace bunchtrain {

/// A file under construction. Until `commit()` nothing is visible under `path`; without a commit the
/// temporary is removed.
///
/// Every write error throws at once: `IoError` for what may pass (a full disk), else
/// `CheckpointError`. Not thread-safe.
class AtomicFile {
 public:
  /// Opens `path` + ".partial-PID". @throws CheckpointError if the folder is missing or
  /// not writable, naming it.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// fsync, rename to `path`, fsync of the folder.
  void commit();
  const std::filesystem::path& path() const noexcept { return path_; }
  /// Of what `write` was given: the file that the commit publishes, without reading it back.
  std::uint64_t bytes() const noexcept { return bytes_; }
  std::string hash() const { return hasher_.hex(); }
  /// Where the bytes are until the commit, for libraries that write files themselves.
  const std::filesystem::path& temporary_path() const noexcept { return temporary_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  Hasher hasher_;
  std::uint64_t bytes_ = 0;
};

/// fsync of a folder: what was renamed into it stays there after a power cut. @throws IoError,
/// CheckpointError
void synchronise_folder(const std::filesystem::path& folder);

/// Writes `text` to `path` atomically.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// The whole file as text. @throws DataError naming the path if it cannot be read; IoError.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace bunchtrain
