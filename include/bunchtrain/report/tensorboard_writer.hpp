// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Writes TensorBoard event files (TFRecord framing, Event protocol buffers) without TensorFlow or protobuf.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace bunchtrain::report {

class AppendFile;

/// Writer of one event file. A resumed run opens a new file in the same folder, as TensorBoard
/// expects. Not thread-safe.
class TensorBoardWriter {
 public:
  /// Creates `folder`/events.out.tfevents.TIME.HOST.PID (the folder too). @throws DataError naming the
  /// folder; IoError, as every method: then nothing of the event is in the file.
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  void add_scalar(std::string_view tag, double value, std::int64_t step);
  /// Histogram of `values` in 30 equal bins; values that are not finite are left out.
  void add_histogram(std::string_view tag, std::span<const double> values, std::int64_t step);
  void add_text(std::string_view tag, std::string_view text, std::int64_t step);
  /// Tells TensorBoard to forget what earlier files of this folder hold from `step` on:
  /// call when a run resumes.
  void mark_restart(std::int64_t step);
  /// Puts everything on the disk.
  void sync();
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  void write_event(std::int64_t step, std::string_view content);

  std::filesystem::path path_;
  std::unique_ptr<AppendFile> file_;
};

/// CRC-32C (Castagnoli) of `bytes`: 0xE3069283 for "123456789".
std::uint32_t crc32c(std::span<const std::byte> bytes) noexcept;

}  // namespace bunchtrain::report
