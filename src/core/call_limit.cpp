// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/detail/call_limit.hpp"

#include <algorithm>
#include <utility>

namespace bunchtrain {

CallLimit::CallLimit(std::chrono::milliseconds limit, std::function<void()> on_hang)
    : limit_(limit), on_hang_(std::move(on_hang)) {
  if (on_hang_) thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

void CallLimit::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // In slices, so that time in which the process is suspended does not count.
  constexpr std::chrono::milliseconds kSlice{100};
  for (auto left = limit_; left.count() > 0; left -= kSlice) {
    over_.wait_for(lock, stop, std::min(left, kSlice), [] { return false; });
    if (stop.stop_requested()) return;
  }
  on_hang_();
}

}  // namespace bunchtrain
