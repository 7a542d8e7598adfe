// SPDX-License-Identifier: Apache-2.0
#include "open_files.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <thread>

namespace bunchtrain::hdf5 {
namespace {

constexpr rlim_t kOwnFiles = 256;  // libraries, MPI, the run folder
constexpr int kRepetitions = 3;
constexpr std::chrono::milliseconds kPause{100};

// @return whether `wanted` files may be open now
bool raise_soft_limit(rlim_t wanted, bool must_change) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  if (limit.rlim_cur >= wanted) return !must_change;
  const rlim_t soft = wanted < limit.rlim_max ? wanted : limit.rlim_max;
  if (soft <= limit.rlim_cur) return false;
  limit.rlim_cur = soft;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 && (must_change || soft >= wanted);
}

}  // namespace

bool allow_open_files(std::size_t count) {
  return raise_soft_limit(static_cast<rlim_t>(count) + kOwnFiles, false);
}

std::size_t room_for_files() {
  constexpr std::size_t kLeast = 8, kMost = 1 << 20;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kLeast;
  const auto allowed = static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur, kMost));
  return std::max(allowed > 2 * kOwnFiles ? allowed - kOwnFiles : allowed / 2, kLeast);
}

bool raise_open_file_limit() { return raise_soft_limit(RLIM_INFINITY, true); }

bool prepare_repetition(int attempt, int code) {
  if (attempt >= kRepetitions) return false;
  if (code == EMFILE) return raise_open_file_limit();
  if (code == EINTR) return true;
  if (code != EIO && code != ESTALE && code != EREMOTEIO && code != ETIMEDOUT) return false;
  std::this_thread::sleep_for(kPause * (1 << attempt));
  return true;
}

std::string_view mend_of(int code) noexcept {
  return code == EMFILE || code == ENFILE ? "; allow more open files with `ulimit -n`" : "";
}

}  // namespace bunchtrain::hdf5
