// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cerrno>
#include <csignal>
#include <new>
#include <system_error>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::app {
namespace {

/// What may pass by itself, or once somebody makes room.
constexpr std::array kPassing = {ENOSPC, EDQUOT, EIO,   ESTALE, ENOLCK,   ETIMEDOUT,
                                 ENOMEM, EAGAIN, EINTR, EBUSY,  ENETDOWN, EREMOTEIO};
/// What the user has to mend.
constexpr std::array kOfTheUser = {ENOENT, EACCES, EPERM,        ENOTDIR, EISDIR,
                                   EEXIST, EROFS,  ENAMETOOLONG, ELOOP,   EINVAL};

template <std::size_t Size>
bool holds(const std::array<int, Size>& codes, int code) {
  for (const int one : codes)
    if (one == code) return true;
  return false;
}

}  // namespace

int exit_code_of(const std::exception& error) noexcept {
  if (dynamic_cast<const CommError*>(&error) || dynamic_cast<const IoError*>(&error)) return kExitRetry;
  if (dynamic_cast<const ConfigError*>(&error) || dynamic_cast<const DataError*>(&error) ||
      dynamic_cast<const CheckpointError*>(&error) || dynamic_cast<const NotBuiltError*>(&error))
    return kExitUsage;
  if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {
    if (holds(kPassing, system->code().value())) return kExitRetry;
    if (holds(kOfTheUser, system->code().value())) return kExitUsage;
  }
  return kExitError;
}

int exit_code_after(int signal) noexcept {
  return signal == SIGINT ? train::kExitInterrupted : train::kExitCheckpointed;
}

std::string describe_error(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error))
    return "out of memory: take a smaller --batch, --accumulate it in more passes, or fewer ranks per node";
  return *error.what() != '\0' ? error.what() : "an error without a text";
}

}  // namespace bunchtrain::app
