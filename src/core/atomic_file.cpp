// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/detail/unique_handle.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain {

namespace {

struct DescriptorTraits {
  using Handle = int;
  static Handle null() noexcept { return -1; }
  static void close(Handle handle) noexcept { ::close(handle); }
};
using Descriptor = UniqueHandle<DescriptorTraits>;

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

[[noreturn]] void fail(const std::string& doing, const std::filesystem::path& path, std::string_view remedy) {
  const int code = errno;
  throw_system_fault<CheckpointError>(
      "cannot " + doing + " " + path.string() + ": " + std::strerror(code) + "; " + std::string(remedy),
      code);
}

}  // namespace

void synchronise_folder(const std::filesystem::path& folder) {
  const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor || ::fsync(descriptor.get()) != 0)
    fail("synchronise folder", folder, "check the file system");
}

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)), temporary_(path_.string() + ".partial-" + std::to_string(::getpid())) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("write into folder", folder_of(path_), "create it or make it writable");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  expects(descriptor_ >= 0, "AtomicFile::write after commit");
  hasher_.update(bytes);
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", path_, "free some space or choose another folder");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit() {
  expects(descriptor_ >= 0, "AtomicFile::commit called twice");
  if (::fsync(descriptor_) != 0) fail("write", path_, "free some space or choose another folder");
  // Network file systems report delayed write errors only here; the file keeps its temporary name then.
  if (::close(std::exchange(descriptor_, -1)) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary_.c_str());
    errno = code;
    fail("write", path_, "free some space or choose another folder");
  }
  synchronise_folder(folder_of(path_));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_text_file(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  try {
    if (file) return {std::istreambuf_iterator<char>(file), {}};
  } catch (const std::ios_base::failure&) {
    // A folder, which opens but cannot be read, or a bad sector: errno says which.
  }
  const int code = errno != 0 ? errno : EIO;
  throw_system_fault<DataError>("cannot read " + path.string() + ": " + std::strerror(code), code);
}

}  // namespace bunchtrain
