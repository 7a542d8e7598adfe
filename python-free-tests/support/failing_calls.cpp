// SPDX-License-Identifier: Apache-2.0
/// Preloaded into a program, makes the system refuse: FAIL=CALL:PART:AFTER:ERRNO:TIMES fails CALL (write,
/// fsync, open, mkdir, rename, pread) on paths that contain PART with ERRNO, TIMES times after AFTER calls
/// went well; on rank FAIL_RANK alone if that is set. Several of them are joined by commas.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Rule {
  std::string call, part;
  int after = 0, code = 0, times = 0;
  std::atomic<int> seen = 0;
};

/// Never destroyed: files are written until the very end.
std::vector<Rule*>& rules() {
  static auto& all = *[] {
    auto* found = new std::vector<Rule*>;
    const char* specification = std::getenv("FAIL");
    const char* wanted = std::getenv("FAIL_RANK");
    const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
    if (!specification || (wanted && rank && std::strcmp(wanted, rank) != 0)) return found;
    std::string_view rest = specification;
    while (!rest.empty()) {
      const std::string one(rest.substr(0, rest.find(',')));
      rest.remove_prefix(std::min(rest.size(), one.size() + 1));
      char call[32] = {}, part[256] = {};
      auto* rule = new Rule;
      if (std::sscanf(one.c_str(), "%31[^:]:%255[^:]:%d:%d:%d", call, part, &rule->after, &rule->code,
                      &rule->times) != 5) {
        std::fprintf(stderr, "FAIL cannot be read: %s\n", one.c_str());
        std::_Exit(99);
      }
      rule->call = call;
      rule->part = part;
      found->push_back(rule);
    }
    return found;
  }();
  return all;
}

bool refuses(std::string_view call, std::string_view path) {
  for (Rule* rule : rules()) {
    if (rule->call != call || path.find(rule->part) == std::string_view::npos) continue;
    const int number = ++rule->seen;
    if (number <= rule->after || number > rule->after + rule->times) continue;
    errno = rule->code;
    return true;
  }
  return false;
}

bool refuses(std::string_view call, int descriptor) {
  if (rules().empty()) return false;
  const int before = errno;
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = ::readlink(link, path, sizeof path);
  errno = before;
  return length > 0 && refuses(call, std::string_view(path, static_cast<std::size_t>(length)));
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

ssize_t write(int descriptor, const void* bytes, std::size_t count) {
  static const auto next = real<ssize_t (*)(int, const void*, std::size_t)>("write");
  return refuses("write", descriptor) ? -1 : next(descriptor, bytes, count);
}

int fsync(int descriptor) {
  static const auto next = real<int (*)(int)>("fsync");
  return refuses("fsync", descriptor) ? -1 : next(descriptor);
}

ssize_t pread(int descriptor, void* bytes, std::size_t count, off_t offset) {
  static const auto next = real<ssize_t (*)(int, void*, std::size_t, off_t)>("pread");
  return refuses("pread", descriptor) ? -1 : next(descriptor, bytes, count, offset);
}

int open(const char* path, int flags, ...) {
  static const auto next = real<int (*)(const char*, int, ...)>("open");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return refuses("open", std::string_view(path)) ? -1 : next(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  static const auto next = real<int (*)(const char*, int, ...)>("open64");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return refuses("open", std::string_view(path)) ? -1 : next(path, flags, mode);
}

FILE* fopen(const char* path, const char* mode) {
  static const auto next = real<FILE* (*)(const char*, const char*)>("fopen");
  return refuses("open", std::string_view(path)) ? nullptr : next(path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
  static const auto next = real<FILE* (*)(const char*, const char*)>("fopen64");
  return refuses("open", std::string_view(path)) ? nullptr : next(path, mode);
}

int mkdir(const char* path, mode_t mode) {
  static const auto next = real<int (*)(const char*, mode_t)>("mkdir");
  return refuses("mkdir", std::string_view(path)) ? -1 : next(path, mode);
}

int rename(const char* from, const char* to) {
  static const auto next = real<int (*)(const char*, const char*)>("rename");
  return refuses("rename", std::string_view(to)) ? -1 : next(from, to);
}

}  // extern "C"
#pragma GCC visibility pop
