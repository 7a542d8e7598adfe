// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A folder of copies: what is in it, what may be believed, room for more.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bunchtrain::data {

/// A file as it was when it was looked at.
struct SourceFile {
  std::string path;
  std::uint64_t bytes = 0;
  std::int64_t modified = 0;  ///< nanoseconds
  std::uint64_t inode = 0;
  std::string copy;  ///< the name of its copy, another one whenever the file is another one

  bool operator==(const SourceFile&) const = default;
};

/// @throws DataError if it is not there
SourceFile look_at_source(const std::string& path);

/// Room of a folder: bytes of copies, and what the disk has free beside them.
struct Room {
  std::uint64_t capacity = 0;  ///< 0: no bound
  std::uint64_t floor = 0;
};

/// A copy that is there.
struct StoredCopy {
  std::string name;
  std::uint64_t bytes = 0;
};

/// Copies that are given up so that `bytes` more fit, of those that are not `wanted`: nothing if they are not enough.
/// @param free of the disk now
std::optional<std::vector<StoredCopy>> make_room(const std::vector<StoredCopy>& there,
                                                 const std::set<std::string>& wanted, std::uint64_t bytes,
                                                 const Room& room, std::uint64_t free);
/// Copies of `bytes` at least that are given up: those that are not among `order` first, then those that are read
/// last.
std::vector<StoredCopy> choose_victims(const std::vector<StoredCopy>& there,
                                       const std::vector<std::string>& order, std::uint64_t bytes);

/// What comes of looking at a copy of an earlier job.
enum class Checked { good, bad, ended };

/// Called with the bytes done so far; false ends the work.
using Progress = std::function<bool(std::uint64_t)>;

/// Written by the holder of the lease alone. Beside each copy lies a record with its checksum and the token of the lease
/// under which it was checked last: only such copies are read. Not thread-safe.
class CopyFolder {
 public:
  explicit CopyFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& path() const noexcept { return folder_; }
  std::filesystem::path path_of(const SourceFile& file) const { return folder_ / file.copy; }
  /// Removes what killed processes left, and copies without a record.
  void clean() const;
  std::vector<StoredCopy> copies() const;
  std::uint64_t free_bytes() const;
  /// Whether there is a copy that was checked under this lease.
  bool is_checked(const SourceFile& file, const std::string& token) const;
  bool has_record(const SourceFile& file) const;
  /// Reads the copy and compares; one that is not what was written is removed.
  Checked check(const SourceFile& file, const std::string& token, const Progress& progress) const;
  /// A copy that this process reads stays good under a new lease.
  void vouch(const SourceFile& file, const std::string& token) const;
  /// Copies, synchronises, renames. @return false if `progress` ended it
  /// @throws DataError if the source cannot be read or has changed; IoError, CheckpointError if the folder refuses
  bool copy(const SourceFile& file, const std::string& token, const Progress& progress) const;
  /// From now on nobody begins to read it; its place is free when the last reader is done.
  void remove(const std::string& copy) const;

 private:
  std::filesystem::path folder_;
};

/// For tests: called before each piece of a copy; may wait, or throw.
std::function<void(std::uint64_t)>& before_copied_piece();

}  // namespace bunchtrain::data
