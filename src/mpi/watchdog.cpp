// SPDX-License-Identifier: Apache-2.0
#include "watchdog.hpp"

#include <fmt/format.h>

#include <utility>

#include "siblings.hpp"

namespace bunchtrain::mpi {

Watchdog::Watchdog(std::string what, std::chrono::milliseconds limit,
                   std::function<void(const std::string&)> on_hang)
    : what_(std::move(what)), limit_(limit), on_hang_(std::move(on_hang)) {
  if (on_hang_) thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

void Watchdog::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // In slices, so that time in which the whole job is suspended does not count.
  constexpr std::chrono::milliseconds kSlice{100};
  for (auto waited = std::chrono::milliseconds(0); waited < limit_; waited += kSlice) {
    over_.wait_for(lock, stop, kSlice, [] { return false; });
    if (stop.stop_requested()) return;
  }
  const std::string silent = stopped_siblings();
  on_hang_(fmt::format(
      "{} takes longer than {:.3g} s. {}", what_, static_cast<double>(limit_.count()) / 1000,
      silent.empty() ? "A rank did not come; on this node none is stopped" : "Silent: " + silent));
}

}  // namespace bunchtrain::mpi
