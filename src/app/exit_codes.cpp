// SPDX-License-Identifier: Apache-2.0
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <new>
#include <system_error>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/detail/memory_need.hpp"

namespace bunchtrain::app {
namespace {

/// What the user has to mend.
constexpr std::array kOfTheUser = {ENOENT, EACCES,       EPERM, ENOTDIR, EISDIR,
                                   EEXIST, ENAMETOOLONG, ELOOP, EINVAL};

}  // namespace

int exit_code_of(const std::exception& error) noexcept {
  if (dynamic_cast<const CommError*>(&error) || dynamic_cast<const IoError*>(&error)) return kExitRetry;
  if (dynamic_cast<const ConfigError*>(&error) || dynamic_cast<const DataError*>(&error) ||
      dynamic_cast<const CheckpointError*>(&error) || dynamic_cast<const NotBuiltError*>(&error))
    return kExitUsage;
  if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {
    const int code = system->code().value();
    if (may_pass(code)) return kExitRetry;
    if (std::ranges::find(kOfTheUser, code) != kOfTheUser.end()) return kExitUsage;
  }
  return kExitError;
}

int exit_code_after(int signal) noexcept {
  return signal == SIGINT ? train::kExitInterrupted : train::kExitCheckpointed;
}

std::string describe_error(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error))
    return "out of memory: take a smaller --batch, --accumulate it in more passes, or fewer ranks per node";
  if (const auto* of_gpu = dynamic_cast<const c10::OutOfMemoryError*>(&error))
    return train::describe_out_of_memory(of_gpu->what_without_backtrace());
  return *error.what() != '\0' ? error.what() : "an error without a text";
}

}  // namespace bunchtrain::app
