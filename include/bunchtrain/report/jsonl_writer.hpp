// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Appends records to a JSONL file (metrics.jsonl): one line per record, readable while the run goes on.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/report/record.hpp"

namespace bunchtrain::report {

class AppendFile;

/// Writer of one JSONL file. Each record reaches the kernel at once; `sync()` puts it on
/// the disk. Not thread-safe.
class JsonlWriter {
 public:
  /// Opens for appending, creates the file if there is none. A torn last line (a killed run) is cut off.
  /// @throws DataError naming the file if it cannot be opened or written.
  explicit JsonlWriter(std::filesystem::path path);
  ~JsonlWriter();
  JsonlWriter(const JsonlWriter&) = delete;
  JsonlWriter& operator=(const JsonlWriter&) = delete;

  /// @throws IoError (disk full) or DataError with the system's reason; then nothing of it is in the file.
  void append(const Record& record);
  /// fsync: call once per epoch.
  void sync();
  /// For a run that resumes at `step`: cuts the file before the first record whose "step" is greater, or,
  /// with `epoch_anew`, before that step's record of kind "epoch", which will be written again. Lines that
  /// are no records stay; returns their numbers.
  std::vector<std::int64_t> truncate_after(std::int64_t step, bool epoch_anew = false);
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<AppendFile> file_;
};

/// Lines of a file that are no records.
struct BadLines {
  std::int64_t count = 0;
  std::int64_t first = 0;   ///< its number, from 1
  std::string reason = {};  ///< of the first
};

/// Calls `visit` for one record after the other without holding the file in memory. Lines that are no records
/// are passed over; a torn last line is ignored. @throws DataError if the file cannot be read; IoError.
BadLines visit_jsonl(const std::filesystem::path& path, const std::function<void(const Record&)>& visit);
/// All records of a file. @throws DataError naming file and line of what is no record.
std::vector<Record> read_jsonl(const std::filesystem::path& path);

}  // namespace bunchtrain::report
