// SPDX-License-Identifier: Apache-2.0
#include "file_bytes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "open_files.hpp"

namespace bunchtrain::data {
namespace {

int last_code() { return errno; }

[[noreturn]] void fail(const std::string& what, int code) {
  throw_system_fault<DataError>(
      fmt::format("{}: {}{}", what, std::generic_category().message(code), hdf5::mend_of(code)), code);
}

}  // namespace

/// Closes what it owns.
class FileBytes::Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      // O_NONBLOCK: opening a named pipe would wait for a writer.
      : number_(hdf5::try_again([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); },
                                last_code)) {
    if (number_ < 0 || ::fstat(number_, &status_) != 0) {
      const int code = errno;
      if (number_ >= 0) ::close(number_);
      fail(path + ": cannot be opened", code);
    }
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const noexcept { return number_; }
  const struct stat& status() const noexcept { return status_; }

 private:
  int number_;
  struct stat status_ {};
};

/// The descriptors of all files, the one used last in front.
class FileBytes::Pool {
 public:
  using Held = std::shared_ptr<const Descriptor>;

  // Never destroyed: files of static lifetime may outlive it.
  static Pool& instance() {
    static auto* pool = new Pool;
    return *pool;
  }

  Held find(const FileBytes* file) {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(file);
    if (found == places_.end()) return nullptr;
    held_.splice(held_.begin(), held_, found->second);
    return found->second->second;
  }

  void make_room() {
    const std::lock_guard lock(mutex_);
    if (held_.size() < capacity()) return;
    hdf5::raise_open_file_limit();
    while (held_.size() >= capacity()) drop_last();
  }

  void keep(const FileBytes* file, Held descriptor) {
    const std::lock_guard lock(mutex_);
    if (places_.contains(file)) return;  // another thread was faster
    held_.emplace_front(file, std::move(descriptor));
    places_[file] = held_.begin();
  }

  void forget(const FileBytes* file) {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(file);
    if (found == places_.end()) return;
    held_.erase(found->second);
    places_.erase(found);
  }

 private:
  // The rest is for HDF5, MPI and the run folder.
  static std::size_t capacity() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 64;
    const auto allowed = static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
    return std::max<std::size_t>(allowed > 512 ? allowed - 256 : allowed / 2, 8);
  }

  void drop_last() {
    places_.erase(held_.back().first);
    held_.pop_back();  // closed when the last reader has done with it
  }

  std::mutex mutex_;
  std::list<std::pair<const FileBytes*, Held>> held_;
  std::unordered_map<const FileBytes*, decltype(held_)::iterator> places_;
};

FileBytes::FileBytes(std::string path) : path_(std::move(path)) {
  Pool::instance().make_room();
  auto descriptor = std::make_shared<const Descriptor>(path_);
  if (!S_ISREG(descriptor->status().st_mode))
    throw DataError(fmt::format("{}: is no regular file; write the data to a file first", path_));
  size_ = static_cast<std::uint64_t>(descriptor->status().st_size);
  device_ = descriptor->status().st_dev;
  inode_ = descriptor->status().st_ino;
  Pool::instance().keep(this, std::move(descriptor));
}

FileBytes::~FileBytes() { Pool::instance().forget(this); }

std::shared_ptr<const FileBytes::Descriptor> FileBytes::open() const {
  if (auto held = Pool::instance().find(this)) return held;
  Pool::instance().make_room();
  auto descriptor = std::make_shared<const Descriptor>(path_);
  const auto& status = descriptor->status();
  if (status.st_dev != device_ || status.st_ino != inode_ ||
      static_cast<std::uint64_t>(status.st_size) != size_)
    throw DataError(fmt::format("{}: was replaced or truncated while in use; start again", path_));
  Pool::instance().keep(this, descriptor);
  return descriptor;
}

void FileBytes::read(std::uint64_t offset, std::span<std::byte> out) const {
  const auto descriptor = open();
  while (!out.empty()) {
    const auto got = hdf5::try_again(
        [&] { return ::pread(descriptor->number(), out.data(), out.size(), static_cast<off_t>(offset)); },
        last_code);
    if (got < 0) fail(fmt::format("{}: cannot be read at byte {}", path_, offset), errno);
    if (got == 0)
      throw DataError(fmt::format(
          "{}: ends at byte {}, {} more were expected; was it replaced or truncated while in use?", path_,
          offset, out.size()));
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace bunchtrain::data
