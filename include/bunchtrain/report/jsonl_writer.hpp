// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Appends records to a JSONL file (metrics.jsonl): one line per record, readable while the run goes on.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "bunchtrain/report/record.hpp"

namespace bunchtrain::report {

class AppendFile;

/// Writer of one JSONL file. Each record reaches the kernel at once; `sync()` puts it on the disk. Not
/// thread-safe.
class JsonlWriter {
 public:
  /// Opens for appending, creates the file if there is none. A torn last line (a killed run) is cut off.
  /// @throws DataError naming the file if it cannot be opened or written.
  explicit JsonlWriter(std::filesystem::path path);
  ~JsonlWriter();
  JsonlWriter(const JsonlWriter&) = delete;
  JsonlWriter& operator=(const JsonlWriter&) = delete;

  /// @throws DataError with the system's reason (disk full).
  void append(const Record& record);
  /// fsync: call once per epoch.
  void sync();
  /// For a run that resumes at `step`: cuts the file before the first record whose "step" is greater.
  void truncate_after(std::int64_t step);
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<AppendFile> file_;
};

/// All records of a file; a torn last line is ignored. @throws DataError naming file and line.
std::vector<Record> read_jsonl(const std::filesystem::path& path);

}  // namespace bunchtrain::report
