// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A limit on calls into libraries that cannot be interrupted.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace bunchtrain {

/// Calls `on_hang` from a thread of its own unless it is destroyed within `limit`; without a listener it does
/// nothing. Time in which the process is suspended does not count. Not movable.
class CallLimit {
 public:
  CallLimit(std::chrono::milliseconds limit, std::function<void()> on_hang);

 private:
  void watch(const std::stop_token& stop);

  std::chrono::milliseconds limit_;
  std::function<void()> on_hang_;
  std::mutex mutex_;
  std::condition_variable_any over_;
  std::jthread thread_;  // last: joined before what it uses dies
};

}  // namespace bunchtrain
