// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A file that only grows, written straight to the kernel.

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "bunchtrain/core/detail/unique_handle.hpp"

namespace bunchtrain::report {

struct DescriptorTraits {
  using Handle = int;
  static Handle null() noexcept { return -1; }
  static void close(Handle descriptor) noexcept { ::close(descriptor); }
};

/// Every method throws `IoError` for what may pass (a full disk), else `DataError`, naming the file
/// and the system's reason.
class AppendFile {
 public:
  explicit AppendFile(const std::filesystem::path& path);

  /// All of it or, if that fails, nothing of it.
  void append(std::string_view bytes);
  void sync();
  void truncate(std::int64_t bytes);

 private:
  [[noreturn]] void fail(std::string_view action) const;

  std::filesystem::path path_;
  UniqueHandle<DescriptorTraits> descriptor_;
};

}  // namespace bunchtrain::report
