// SPDX-License-Identifier: Apache-2.0
#include "watchdog.hpp"

namespace bunchtrain::comm::detail {
namespace {
constexpr std::chrono::milliseconds kPeriod{100};
}  // namespace

Watchdog::Watchdog(NcclCommunicator& communicator, int device)
    : communicator_(communicator),
      thread_([this, device](const std::stop_token& stop) { run(stop, device); }) {}

void Watchdog::watch(std::shared_ptr<NcclOperation> operation) {
  const std::scoped_lock lock(mutex_);
  operations_.push_back(std::move(operation));
}

void Watchdog::run(const std::stop_token& stop, int device) {
  cudaSetDevice(device);
  while (!stop.stop_requested()) {
    std::this_thread::sleep_for(kPeriod);
    try {
      look();
    } catch (const CommError& error) {
      communicator_.abort(error.message());
      return;
    }
  }
}

void Watchdog::look() {
  std::shared_ptr<NcclOperation> oldest;
  {
    const std::scoped_lock lock(mutex_);
    while (!operations_.empty() && has_passed(operations_.front()->done, operations_.front()->call)) {
      operations_.pop_front();
    }
    if (operations_.empty()) return;
    oldest = operations_.front();
  }
  if (const std::string error = communicator_.asynchronous_error(); !error.empty()) {
    throw CommError(describe(oldest->call) + ": " + error);
  }
  if (std::chrono::steady_clock::now() < oldest->deadline) return;
  timed_out_ = true;
  throw CommError(describe(oldest->call) + " did not complete in time and was aborted");
}

}  // namespace bunchtrain::comm::detail
