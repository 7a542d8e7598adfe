// SPDX-License-Identifier: Apache-2.0
/// Loaded in front of a program (LD_PRELOAD), notes each bunchtrain::Error that it throws in the file that
/// BUNCHTRAIN_ERROR_TRACE names: "<source file>:<line>\t<message>", once for each text.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <typeinfo>
#include <unordered_set>

#include "bunchtrain/core/error.hpp"

namespace {

/// Programs that throw without end (the fuzzers) fill no disk.
constexpr std::size_t kMostTexts = 4000;

const bunchtrain::Error* as_error(void* thrown, std::type_info* type) {
  return typeid(bunchtrain::Error).__do_catch(type, &thrown, 1) ? static_cast<bunchtrain::Error*>(thrown)
                                                                : nullptr;
}

/// On one line: the rest of a message of several lines matters too.
std::string line_of(const bunchtrain::Error& error) {
  std::string text = error.message();
  for (char& c : text)
    if (c == '\n' || c == '\t') c = ' ';
  return std::string(error.where().file_name()) + ":" + std::to_string(error.where().line()) + "\t" + text +
         "\n";
}

int open_trace() {
  const char* const path = std::getenv("BUNCHTRAIN_ERROR_TRACE");
  return path ? ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
}

/// Opened at the start: what is thrown for want of descriptors is noted too.
const int trace_file = open_trace();

void note(const bunchtrain::Error& error) {
  static std::mutex mutex;
  static std::unordered_set<std::size_t> known;
  if (trace_file < 0) return;
  const std::string line = line_of(error);
  const std::lock_guard lock(mutex);
  if (known.size() >= kMostTexts || !known.insert(std::hash<std::string>()(line)).second) return;
  [[maybe_unused]] const auto written = ::write(trace_file, line.data(), line.size());
}

}  // namespace

extern "C" [[noreturn]] void __cxa_throw(void* thrown, void* type, void (*destroy)(void*)) {
  using Throw = void (*)(void*, void*, void (*)(void*));
  static const auto real = reinterpret_cast<Throw>(::dlsym(RTLD_NEXT, "__cxa_throw"));
  if (const auto* error = as_error(thrown, static_cast<std::type_info*>(type))) note(*error);
  real(thrown, type, destroy);
  std::abort();
}
