// SPDX-License-Identifier: Apache-2.0
#include "file_stamp.hpp"

#include <fmt/format.h>

#include <chrono>

namespace bunchtrain::data {
namespace {

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000, kBetweenLooks = kNanosecondsPerSecond / 4;

std::int64_t now_ns() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace

FileStamp FileStamp::of(const struct stat& status) noexcept {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .bytes = static_cast<std::uint64_t>(status.st_size),
          .modified_ns = status.st_mtim.tv_sec * kNanosecondsPerSecond + status.st_mtim.tv_nsec};
}

FileWatch::FileWatch(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0) opened_ = FileStamp::of(status);
}

void FileWatch::require_same(const FileStamp& now) const {
  if (now == opened_) return;
  const bool same_file = now.device == opened_.device && now.inode == opened_.inode;
  const bool same_size = now.bytes == opened_.bytes;
  const std::string how = !same_file ? "was replaced"
                          : same_size
                              ? "was written to"
                              : fmt::format("had {} bytes and has {} now: it was written to or truncated",
                                            opened_.bytes, now.bytes);
  throw SourceChangedError(
      fmt::format("{}: {} while in use; start again once it stays as it is", path_, how));
}

void FileWatch::look() const {
  struct stat status {};
  if (opened_ != FileStamp{} && ::stat(path_.c_str(), &status) == 0) require_same(FileStamp::of(status));
}

void FileWatch::look_now_and_then() const {
  const std::int64_t now = now_ns();
  std::int64_t due = next_look_ns_.load(std::memory_order_relaxed);
  if (now < due || !next_look_ns_.compare_exchange_strong(due, now + kBetweenLooks)) return;
  look();
}

}  // namespace bunchtrain::data
