// SPDX-License-Identifier: Apache-2.0
#include "fake_cufile.hpp"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>

namespace {

using bunchtrain::data::FakeCufile;

struct Status {
  int code = 0, cuda = 0;
};
struct Description {
  int type;
  union {
    int descriptor;
    void* other;
  } file;
  const void* operations;
};

FakeCufile state;
std::mutex mutex;
std::map<const void*, std::size_t> buffers;

bool is_misused(const void* base, std::size_t size, off_t file_offset, off_t offset) {
  constexpr std::uint64_t kPage = 4096;
  const std::lock_guard lock(mutex);
  const auto found = buffers.find(base);
  const bool inside = found != buffers.end() && static_cast<std::size_t>(offset) + size <= found->second;
  return !inside || size % kPage != 0 || static_cast<std::uint64_t>(file_offset) % kPage != 0 ||
         static_cast<std::uint64_t>(offset) % kPage != 0;
}

ssize_t read_well(int descriptor, char* out, std::size_t size, off_t offset) {
  ssize_t done = 0;
  while (static_cast<std::size_t>(done) < size) {
    const ssize_t got = ::pread(descriptor, out + done, size - static_cast<std::size_t>(done), offset + done);
    if (got <= 0) return got < 0 ? got : done;
    done += got;
    if (got % 4096 != 0) return done;  // the end of the file
  }
  return done;
}

}  // namespace

extern "C" {

FakeCufile* fake_cufile() { return &state; }

Status cuFileDriverOpen() { return {state.driver_code, 0}; }

Status cuFileHandleRegister(void** handle, Description* description) {
  if (state.handle_code != 0) return {state.handle_code, 0};
  ++state.handles;
  ++state.handles_made;
  *handle = reinterpret_cast<void*>(static_cast<std::intptr_t>(description->file.descriptor) + 1);
  return {};
}

void cuFileHandleDeregister(void*) { --state.handles; }

Status cuFileBufRegister(const void* base, std::size_t size, int) {
  if (state.buffer_code != 0) return {state.buffer_code, 0};
  const std::lock_guard lock(mutex);
  ++state.buffers;
  return {buffers.emplace(base, size).second ? 0 : 5023, 0};
}

Status cuFileBufDeregister(const void* base) {
  const std::lock_guard lock(mutex);
  --state.buffers;
  return {buffers.erase(base) == 1 ? 0 : 5024, 0};
}

ssize_t cuFileRead(void* handle, void* base, std::size_t size, off_t file_offset, off_t offset) {
  using Reads = FakeCufile::Reads;
  ++state.reads_done;
  if (is_misused(base, size, file_offset, offset)) ++state.misuses;
  const int descriptor = static_cast<int>(reinterpret_cast<std::intptr_t>(handle)) - 1;
  char* out = static_cast<char*>(base) + offset;
  switch (state.reads) {
    case Reads::well:
      return read_well(descriptor, out, size, file_offset);
    case Reads::in_pieces:
      return read_well(descriptor, out, std::min<std::size_t>(size, 8192), file_offset);
    case Reads::short_by_a_page:
      return size <= 4096 ? 0 : read_well(descriptor, out, size - 4096, file_offset);
    case Reads::with_errno:
      errno = EIO;
      return -1;
    case Reads::minus_five:
      return -5;
    case Reads::with_code:
      return -state.read_code;
    case Reads::other_bytes: {
      const ssize_t got = read_well(descriptor, out, size, file_offset);
      if (got > 0) out[got / 2] = static_cast<char>(out[got / 2] + 1);
      return got;
    }
    case Reads::never:
      while (state.reads == Reads::never) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return -1;
  }
  return -1;
}
}
