// SPDX-License-Identifier: Apache-2.0
#include "file_bytes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <compare>
#include <list>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "engine.hpp"
#include "open_files.hpp"

namespace bunchtrain::data {
namespace {

int last_code() { return errno; }

// O_NONBLOCK: opening a named pipe would wait for a writer.
int open_number(const std::string& path, int more_flags) {
  return hdf5::try_again([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | more_flags); },
                         last_code);
}

struct stat status_of(const FileDescriptor& descriptor) {
  struct stat status {};
  ::fstat(descriptor.number(), &status);
  return status;
}

[[noreturn]] void fail(const std::string& what, int code) {
  throw_system_fault<DataError>(
      fmt::format("{}: {}{}", what, std::generic_category().message(code), hdf5::mend_of(code)), code);
}

}  // namespace

FileDescriptor::~FileDescriptor() { ::close(number_); }

/// The descriptors of all files, the one used last in front.
class FileBytes::Pool {
 public:
  using Held = std::shared_ptr<const FileDescriptor>;
  /// A file has two: through the page cache, and past it.
  struct Key {
    const FileBytes* file;
    bool direct;
    auto operator<=>(const Key&) const = default;
  };

  // Never destroyed: files of static lifetime may outlive it.
  static Pool& instance() {
    static auto* pool = new Pool;
    return *pool;
  }

  Held find(const Key& file) {
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

  void keep(const Key& file, Held descriptor) {
    const std::lock_guard lock(mutex_);
    if (places_.contains(file)) return;  // another thread was faster
    held_.emplace_front(file, std::move(descriptor));
    places_[file] = held_.begin();
  }

  void forget(const FileBytes* file) {
    for (const bool direct : {false, true}) forget({file, direct});
  }

 private:
  void forget(const Key& file) {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(file);
    if (found == places_.end()) return;
    held_.erase(found->second);
    places_.erase(found);
  }

  // The rest is for HDF5.
  static std::size_t capacity() { return hdf5::room_for_files() / 4 * 3; }

  void drop_last() {
    places_.erase(held_.back().first);
    held_.pop_back();  // closed when the last reader has done with it
  }

  std::mutex mutex_;
  std::list<std::pair<Key, Held>> held_;
  std::map<Key, decltype(held_)::iterator> places_;
};

FileBytes::FileBytes(std::string path, const io::Engine* engine)
    : path_(std::move(path)), engine_(engine), watch_(path_, open_first()) {}

FileStamp FileBytes::open_first() {
  auto descriptor = open(false);
  const auto status = status_of(*descriptor);
  if (!S_ISREG(status.st_mode))
    throw DataError(fmt::format("{}: is no regular file; write the data to a file first", path_));
  Pool::instance().keep({this, false}, std::move(descriptor));
  return FileStamp::of(status);
}

FileBytes::~FileBytes() { Pool::instance().forget(this); }

std::string FileBytes::way() const {
  if (engine_ == nullptr || engine_->kind() == IoEngine::hdf5 || !engine_->why_not(*this).empty())
    return "pread";
  const bool buffered = engine_->kind() == IoEngine::io_uring && direct_refused();
  return fmt::format("{}{}", engine_->name(), buffered ? " through the page cache" : "");
}

void FileBytes::expect(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  try {
    ::posix_fadvise(descriptor()->number(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                    POSIX_FADV_WILLNEED);
  } catch (const Error&) {  // the read will say it
  }
}

std::shared_ptr<const FileDescriptor> FileBytes::open(bool direct) const {
  Pool::instance().make_room();
  const int number = open_number(path_, direct ? O_DIRECT : 0);
  if (number < 0 && !direct) fail(path_ + ": cannot be opened", errno);
  return number < 0 ? nullptr : std::make_shared<const FileDescriptor>(number);
}

void FileBytes::require_unchanged(Look look) const {
  look == Look::now ? watch_.look() : watch_.look_now_and_then();
}

std::shared_ptr<const FileDescriptor> FileBytes::descriptor() const {
  if (auto held = Pool::instance().find({this, false})) return held;
  auto descriptor = open(false);
  watch_.require_same(FileStamp::of(status_of(*descriptor)));
  Pool::instance().keep({this, false}, descriptor);
  return descriptor;
}

std::shared_ptr<const FileDescriptor> FileBytes::direct_descriptor() const {
  if (direct_refused()) return nullptr;
  if (auto held = Pool::instance().find({this, true})) return held;
  auto descriptor = open(true);
  if (!descriptor) {
    refuse_direct();
    return nullptr;
  }
  watch_.require_same(FileStamp::of(status_of(*descriptor)));
  Pool::instance().keep({this, true}, descriptor);
  return descriptor;
}

void FileBytes::read(std::uint64_t offset, std::span<std::byte> out) const {
  const auto held = descriptor();
  while (!out.empty()) {
    const auto got = hdf5::try_again(
        [&] { return ::pread(held->number(), out.data(), out.size(), static_cast<off_t>(offset)); },
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
