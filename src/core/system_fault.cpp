// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/detail/system_fault.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

namespace bunchtrain {

bool may_pass(int code) noexcept {
  constexpr std::array kPassing = {ENOSPC,       EDQUOT,   EIO,         ESTALE,     EROFS,     ENOMEM,
                                   ENOBUFS,      EAGAIN,   EBUSY,       EMFILE,     ENFILE,    EINTR,
                                   ENXIO,        ENODEV,   ENOLINK,     EREMOTEIO,  ETIMEDOUT, EHOSTDOWN,
                                   EHOSTUNREACH, ENETDOWN, ENETUNREACH, ECONNRESET, ENOTCONN,  ESHUTDOWN};
  return std::ranges::find(kPassing, code) != kPassing.end();
}

}  // namespace bunchtrain
