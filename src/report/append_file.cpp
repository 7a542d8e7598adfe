// SPDX-License-Identifier: Apache-2.0
#include "append_file.hpp"

#include <fcntl.h>
#include <fmt/core.h>

#include <cerrno>
#include <cstring>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::report {

AppendFile::AppendFile(const std::filesystem::path& path) : path_(path) {
  descriptor_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!descriptor_) fail("open");
}

void AppendFile::append(std::string_view bytes) {
  const off_t end = ::lseek(descriptor_.get(), 0, SEEK_END);
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int code = errno;
      if (end >= 0)
        static_cast<void>(::ftruncate(descriptor_.get(), end) == 0);  // a device cannot be shortened
      errno = code;
      fail("write");
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AppendFile::sync() {
  // Pipes and some network file systems cannot synchronise; that is no reason to stop.
  if (::fsync(descriptor_.get()) != 0 && errno != EINVAL && errno != ENOTSUP) fail("synchronise");
}

void AppendFile::truncate(std::int64_t bytes) {
  if (::ftruncate(descriptor_.get(), bytes) != 0) fail("shorten");
}

void AppendFile::fail(std::string_view action) const {
  const int code = errno;
  throw_system_fault<DataError>(fmt::format("cannot {} {}: {}", action, path_.string(), std::strerror(code)),
                                code);
}

}  // namespace bunchtrain::report
