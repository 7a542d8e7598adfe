// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A limit on calls that cannot be interrupted.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace bunchtrain::mpi {

/// Calls `on_hang` from a thread of its own unless it is destroyed within `limit`; without a listener it does
/// nothing.
class Watchdog {
 public:
  Watchdog(std::string what, std::chrono::milliseconds limit,
           std::function<void(const std::string&)> on_hang);

 private:
  void watch(const std::stop_token& stop);

  std::string what_;
  std::chrono::milliseconds limit_;
  std::function<void(const std::string&)> on_hang_;
  std::mutex mutex_;
  std::condition_variable_any over_;
  std::jthread thread_;  // last: joined before what it uses dies
};

}  // namespace bunchtrain::mpi
