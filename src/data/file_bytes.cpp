// SPDX-License-Identifier: Apache-2.0
#include "file_bytes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {
namespace {

std::string system_reason() { return std::generic_category().message(errno); }

}  // namespace

FileBytes::FileBytes(std::string path)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (!descriptor_ || ::fstat(descriptor_.get(), &status) != 0) {
    const std::string mend = errno == EMFILE ? "; allow more open files with `ulimit -n`" : "";
    throw DataError(fmt::format("{}: cannot be opened: {}{}", path_, system_reason(), mend));
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

void FileBytes::DescriptorTraits::close(Handle descriptor) noexcept { ::close(descriptor); }

void FileBytes::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const auto got = ::pread(descriptor_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw DataError(fmt::format("{}: cannot be read at byte {}: {}", path_, offset, system_reason()));
    if (got == 0)
      throw DataError(fmt::format(
          "{}: ends at byte {}, {} more were expected; was it replaced or truncated while in use?", path_,
          offset, out.size()));
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace bunchtrain::data
